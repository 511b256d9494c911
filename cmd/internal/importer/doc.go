// Package importer turns a configuration of ZeekControl, or of Zeek's generator for
// systemd (zeek.conf), into the files for the same cluster here: a cluster file,
// settings of the controller and of the agents, a site with scripts, and the commands
// that remain to be run. It lists everything that it does not carry over.
package importer
