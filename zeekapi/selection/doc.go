// Package selection selects nodes of a cluster by name, pattern, role, group or
// instance.
package selection
