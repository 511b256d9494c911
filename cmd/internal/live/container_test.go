package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A Zeek in a container image looks like an installed one: unpackImage makes a
// prefix whose programs run those of the image, each in a container of its own
// that shares the network and the temporary files with us.

// engine is the container engine in use, nil if there is none.
var engine []string

// findEngine returns the command of a container engine that works.
func findEngine() ([]string, error) {
	if named := strings.Fields(os.Getenv(envEngine)); len(named) > 0 {
		return named, nil
	}
	for _, name := range []string{"docker", "podman"} {
		if exec.Command(name, "info").Run() == nil {
			return []string{name}, nil
		}
	}
	return nil, errors.New(`neither docker nor podman works here ("docker info", "podman info")`)
}

// label marks our containers.
func label() string { return "zeekwire-live=" + strconv.Itoa(os.Getpid()) }

func containerName(pid int) string {
	return fmt.Sprintf("zeekwire-live-%d-%d", os.Getpid(), pid)
}

// unpackImage returns the prefix of the Zeek in an image.
func unpackImage(image string) (prefix string, err error) {
	if engine == nil {
		if engine, err = findEngine(); err != nil {
			return "", err
		}
	}
	prefix, err = os.MkdirTemp(root, "image")
	if err != nil {
		return "", err
	}
	inside := func(argv ...string) (string, error) {
		args := append([]string{"run", "--rm", "--entrypoint", argv[0]}, strings.Fields(os.Getenv(envFlags))...)
		args = append(append(args, image), argv[1:]...)
		out, err := exec.Command(engine[0], append(engine[1:len(engine):len(engine)], args...)...).Output()
		return strings.TrimSpace(string(out)), explain(err)
	}
	zeek, err := inside("/bin/sh", "-c", "command -v zeek || ls /usr/local/zeek/bin/zeek /opt/zeek/bin/zeek 2>/dev/null | head -1")
	if err != nil {
		return "", err
	}
	if zeek == "" {
		return "", errors.New("no zeek in the image")
	}
	bin := filepath.Join(prefix, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	for _, program := range []string{"zeek", "zeek-client"} {
		script := wrap(image, filepath.Join(filepath.Dir(zeek), program))
		if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755); err != nil {
			return "", err
		}
	}
	return prefix, copyScripts(image, prefix, filepath.Dir(filepath.Dir(zeek)))
}

// wrap returns a program outside that runs one inside. The container is named
// after the wrapper's process, which is that of the engine afterwards.
func wrap(image, program string) string {
	argv := append([]string{}, engine...)
	argv = append(argv, "run", "--rm", "--network=host", "--cap-add=NET_RAW", "--cap-add=NET_ADMIN",
		"--label", label(), "--volume", root+":"+root, "--entrypoint", program)
	if uid := os.Getuid(); uid != 0 && filepath.Base(engine[0]) == "docker" {
		argv = append(argv, "--user", fmt.Sprintf("%d:%d", uid, os.Getgid()))
	}
	argv = append(argv, strings.Fields(os.Getenv(envFlags))...)
	for i, a := range argv {
		argv[i] = quote(a)
	}
	return fmt.Sprintf(`#!/bin/sh
variables=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | grep -v -x -E 'PATH|HOME|PWD|OLDPWD|HOSTNAME|SHLVL|TMPDIR|_' | sed 's/^/--env /')
case $PWD in %s/*) folder=$PWD ;; *) folder=%[1]s ;; esac
exec %s --name zeekwire-live-%d-$$ --workdir "$folder" $variables %s "$@"
`, quote(root), strings.Join(argv, " "), os.Getpid(), quote(image))
}

// quote makes a word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// copyScripts copies what Zeek loads out of the image, for tests that look at
// it.
func copyScripts(image, prefix, inside string) error {
	share := filepath.Join(prefix, "share")
	if err := os.Mkdir(share, 0o755); err != nil {
		return err
	}
	argv := append(engine[1:len(engine):len(engine)], "run", "--rm", "--entrypoint", "tar")
	argv = append(argv, strings.Fields(os.Getenv(envFlags))...)
	argv = append(argv, image, "-C", filepath.Join(inside, "share"), "-c", "zeek/policy/frameworks/management", "zeek/base/frameworks/supervisor")
	out := exec.Command(engine[0], argv...)
	in := exec.Command("tar", "-C", share, "-x")
	pipe, err := out.StdoutPipe()
	if err != nil {
		return err
	}
	in.Stdin = pipe
	if err := out.Start(); err != nil {
		return err
	}
	return errors.Join(in.Run(), out.Wait())
}

// killContainer ends the container, if there is one, of a process that is a
// wrapper: the engine cannot pass SIGKILL on.
func killContainer(pid int) {
	if engine != nil {
		_ = exec.Command(engine[0], append(engine[1:len(engine):len(engine)], "kill", containerName(pid))...).Run() // most processes are none
	}
}

// removeContainers removes what is left of our containers.
func removeContainers() {
	if engine == nil {
		return
	}
	run := func(args ...string) string {
		out, err := exec.Command(engine[0], append(engine[1:len(engine):len(engine)], args...)...).Output()
		if err != nil {
			fmt.Fprintln(os.Stderr, "live: containers:", explain(err))
		}
		return string(out)
	}
	if ids := strings.Fields(run("ps", "-aq", "--filter", "label="+label())); len(ids) > 0 {
		run(append([]string{"rm", "-f"}, ids...)...)
	}
}
