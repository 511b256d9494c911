//go:build !linux && !darwin

package terminal

import "errors"

func deliverKeys(int) (restore func(), err error) { return nil, errors.ErrUnsupported }
