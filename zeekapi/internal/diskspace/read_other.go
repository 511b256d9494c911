//go:build !linux && !darwin

package diskspace

import "errors"

// Read returns an error.
func Read(string) (Usage, error) {
	return Usage{}, errors.New("the space of file systems is not known on this system")
}
