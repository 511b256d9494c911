//go:build !linux && !darwin

package diskspace

import "errors"

func statfs(string) (usage, error) {
	return usage{}, errors.New("the space of file systems is not known on this system")
}
