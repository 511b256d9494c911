// Package etcdstore keeps the state of several controllers in etcd, of which one leads.
//
// All keys are below a prefix, so that several clusters can use one etcd:
//
//	PREFIX/controllers/LEASE       a controller, in the order in which they will lead
//	PREFIX/entries/BUCKET/KEY/PART an entry of the state, compressed, in parts
//	PREFIX/head                    the number of the last write
//	PREFIX/redo/PART               a write that is too large for one transaction
//	PREFIX/sites/ID                a site that is stored completely
//	PREFIX/sitedata/SUM/PART       a packed site with that digest, in parts
//	PREFIX/relay/...               requests that other controllers pass to the leader
//
// The controllers elect a leader with etcd's own library. Each write of the leader is a
// transaction that fails unless the leader's key still has the revision of its election,
// and unless the head is that of the write before. So a controller that was suspended
// cannot write, and a write that arrives late changes nothing.
//
// A write that is too large for one transaction is first stored below redo. The transaction
// that names it in the head commits it. Until the entries are written, too, readers apply it
// to the entries that they find.
package etcdstore
