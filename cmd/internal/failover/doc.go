// Package failover contains tests that run three controllers on three members of etcd,
// with twenty agents and clients that deploy without pause, while controllers, members
// and connections fail.
//
// Each round has a seed, which decides the faults, and ends with everything working. The
// tests check that nothing that was acknowledged is lost, that no two controllers lead in
// one term, that agents obey only the leader, and that no node restarts because of a
// take-over. A take-over must not take longer than two leases, see testdata/failover.md.
package failover
