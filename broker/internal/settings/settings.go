// Package settings applies the rule that all numbers of a Config follow: zero
// means the documented default, and a negative value is an error at
// construction.
package settings

import "fmt"

// Default sets *value to def if it is zero. It returns an error that mentions
// name if *value is negative.
func Default[T ~int | ~int64](name string, value *T, def T) error {
	switch {
	case *value < 0:
		return fmt.Errorf("%s is %v, must not be negative", name, *value)
	case *value == 0:
		*value = def
	}
	return nil
}
