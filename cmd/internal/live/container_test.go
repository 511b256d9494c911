package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Zeek in a container image is used like an installed one. unpackImage creates
// a prefix whose programs run those of the image, each in a container of its
// own. The containers share the network, the process IDs and the temporary
// files with the tests.

// engine returns the command of the first container engine that works.
var engine = sync.OnceValues(func() ([]string, error) {
	if named := strings.Fields(os.Getenv(envEngine)); len(named) > 0 {
		return named, nil
	}
	for _, name := range []string{"docker", "podman"} {
		if exec.Command(name, "info").Run() == nil {
			return []string{name}, nil
		}
	}
	return nil, errors.New(`neither docker nor podman works ("docker info", "podman info")`)
})

// engineOutput runs a command of the container engine.
func engineOutput(args ...string) (string, error) {
	engine, err := engine()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(engine[0], append(engine[1:len(engine):len(engine)], args...)...).Output()
	return string(out), explain(err)
}

// label marks the containers of the tests with a process ID.
func label(pid int) string { return "zeekwire-live=" + strconv.Itoa(pid) }

func containerName(pid int) string {
	return fmt.Sprintf("zeekwire-live-%d-%d", os.Getpid(), pid)
}

// unpackImage returns the prefix of the Zeek in an image.
func unpackImage(image string) (prefix string, err error) {
	prefix, err = os.MkdirTemp(root, "image")
	if err != nil {
		return "", err
	}
	inside := func(program string, args ...string) (string, error) {
		all := append([]string{"run", "--rm", "--entrypoint", program}, strings.Fields(os.Getenv(envFlags))...)
		return engineOutput(append(append(all, image), args...)...)
	}
	zeek, err := inside("/bin/sh", "-c", "command -v zeek || ls /usr/local/zeek/bin/zeek /opt/zeek/bin/zeek 2>/dev/null | head -1")
	if err != nil {
		return "", err
	}
	if zeek = strings.TrimSpace(zeek); zeek == "" {
		return "", errors.New("the image contains no zeek")
	}
	bin := filepath.Join(prefix, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	for _, program := range []string{"zeek", "zeek-client"} {
		script, err := wrap(image, filepath.Join(filepath.Dir(zeek), program))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755); err != nil {
			return "", err
		}
	}
	// Some tests read the scripts that Zeek loads.
	from := filepath.Join(filepath.Dir(filepath.Dir(zeek)), "share")
	share := filepath.Join(prefix, "share")
	if err := os.Mkdir(share, 0o755); err != nil {
		return "", err
	}
	tar, err := inside("tar", "-C", from, "-c", "zeek")
	if err != nil {
		return "", err
	}
	unpack := exec.Command("tar", "-C", share, "-x")
	unpack.Stdin = strings.NewReader(tar)
	_, err = unpack.Output()
	return prefix, explain(err)
}

// wrap returns a program that runs a program of the image in a container. The
// container is named after the process ID of the wrapper, which becomes the
// engine's process.
func wrap(image, program string) (string, error) {
	engine, err := engine()
	if err != nil {
		return "", err
	}
	argv := append(slices.Clone(engine), "run", "--rm", "--network=host", "--pid=host", "--cap-add=NET_RAW", "--cap-add=NET_ADMIN",
		"--label", label(os.Getpid()), "--volume", root+":"+root, "--entrypoint", program)
	if scripts := os.Getenv(envClusterScripts); scripts != "" {
		argv = append(argv, "--volume", scripts+":"+scripts+":ro")
	}
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
`, quote(root), strings.Join(argv, " "), os.Getpid(), quote(image)), nil
}

// quote quotes a word for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// killContainer kills the container of a wrapper process, if it is one. The
// engine cannot forward SIGKILL.
func killContainer(pid int) {
	if os.Getenv(envImage) != "" {
		_, _ = engineOutput("kill", containerName(pid)) // fails for processes that are not wrappers
	}
}

// containersOf returns the containers of the tests with a process ID.
func containersOf(pid int) map[string]string {
	if os.Getenv(envImage) == "" {
		return nil
	}
	if _, err := engine(); err != nil {
		return nil // unpackImage has reported the error
	}
	out, err := engineOutput("ps", "-a", "--filter", "label="+label(pid), "--format", "{{.ID}} {{.Names}}")
	if err != nil {
		fmt.Fprintln(os.Stderr, "live: containers:", err)
	}
	found := make(map[string]string)
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[id] = name
	}
	return found
}

func removeContainer(id string) {
	if _, err := engineOutput("rm", "-f", id); err != nil {
		fmt.Fprintln(os.Stderr, "live: containers:", err)
	}
}
