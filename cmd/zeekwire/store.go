package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdstore"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func newStoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "store",
		Short:   "Copy the state of controllers",
		Long:    "Copy the state of controllers: see \"zeekwire store copy\".",
		Example: "  zeekwire store copy file etcd --config /etc/zeekwire/controller.conf",
		Args:    usage.Arguments("store"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError(errors.New(`missing command; usage: zeekwire store copy FROM TO`))
		},
	}
	cmd.AddCommand(newStoreCopyCommand())
	return cmd
}

func newStoreCopyCommand() *cobra.Command {
	var flags settings.Flags
	var replace bool
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy the state between a file and etcd",
		Long: `Copy the state of a controller between a file and etcd, or from one file to
another one. The copy is read back and compared.

FROM and TO are each "file", which is the state file of a controller with the
given settings, "etcd", or the path of a state file, such as ./controller.db.
The settings come from the same flags, variables and file as those of
"zeekwire controller".

Nothing may use the file meanwhile. Controllers may run while their state is
read from etcd, but not while it is written there. The command refuses to
replace a state unless there is --replace.

Sites, which are the scripts that travel with configurations, are copied, too.
Those of a state file are in the directory "sites" beside it.`,
		Example: `  zeekwire store copy file etcd --config /etc/zeekwire/controller.conf
  zeekwire store copy etcd backup.db --etcd-endpoints etcd-1:2379`,
		Args: usage.Arguments("copy FROM TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := newControllerSettings()
			if err := s.table().Load(flags.File, os.Getenv, &flags); err != nil {
				return usageError(err)
			}
			if err := s.serviceSettings.check(); err != nil {
				return usageError(err)
			}
			from, err := s.place(args[0])
			if err != nil {
				return usageError(err)
			}
			to, err := s.place(args[1])
			if err != nil {
				return usageError(err)
			}
			summary, err := copyState(cmd.Context(), from, to, replace)
			if err != nil {
				return &failure{err}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), summary)
			return err
		},
	}
	flags.Register(cmd.Flags(), newControllerSettings().table())
	for _, name := range []string{"print-config", "check"} {
		_ = cmd.Flags().MarkHidden(name)
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "replace the state that is at TO")
	return cmd
}

// place is where a state is, or should be.
type place interface {
	// read returns the state, false if there is none.
	read(ctx context.Context) (controller.State, bool, error)

	// write makes the state equal to another one, with the sites that it needs and that are
	// in a store, and checks that.
	write(ctx context.Context, s controller.State, from *site.Store) error

	// sites returns a store with the named sites that the place has, until it is closed. It is
	// nil if the place has none.
	sites(ctx context.Context, ids []string) (from *site.Store, closeSites func(), err error)

	String() string
}

// place returns the place that an argument names.
func (s *controllerSettings) place(text string) (place, error) {
	switch {
	case text == storeFile:
		return statePath{s.stateFile(), s.sites}, nil
	case text == storeEtcd:
		if err := s.store.etcdSettings.check(s.t); err != nil {
			return nil, err
		}
		config, err := s.store.config()
		config.Lease = s.store.lease
		config.Member.Name = "zeekwire store copy"
		return inEtcd{config, s.sites}, err
	case strings.ContainsAny(text, "/."):
		return statePath{text, s.sites}, nil
	}
	return nil, fmt.Errorf("%q is neither file nor etcd, nor the path of a file such as ./%[1]s", text)
}

// statePath is a state file, with the directory of sites beside it.
type statePath struct {
	file   string
	limits siteSettings
}

func (p statePath) String() string { return p.file }

func (p statePath) read(context.Context) (state controller.State, ok bool, err error) {
	if _, err := os.Stat(p.file); errors.Is(err, fs.ErrNotExist) {
		return state, false, nil
	}
	file, err := controller.OpenStore(p.file)
	if err != nil {
		return state, false, err
	}
	defer file.Close()
	state, err = file.Load()
	return state, err == nil, err
}

// directory returns the directory of the sites.
func (p statePath) directory() string { return filepath.Join(filepath.Dir(p.file), "sites") }

func (p statePath) sites(context.Context, []string) (*site.Store, func(), error) {
	none := func() {}
	if _, err := os.Stat(p.directory()); errors.Is(err, fs.ErrNotExist) {
		return nil, none, nil
	}
	store, err := p.limits.open(p.directory())
	return store, none, err
}

func (p statePath) write(ctx context.Context, s controller.State, from *site.Store) error {
	if err := p.writeSites(storedOf(s.Sites(), from), from); err != nil {
		return err
	}
	file, err := controller.OpenStore(p.file)
	if err != nil {
		return err
	}
	defer file.Close()
	if s.Term > 0 {
		s.Term++ // agents obey the controller that continues from here
	}
	if err := file.Rewrite(s); err != nil {
		return err
	}
	written, err := file.Load()
	if err == nil && !etcdstore.Same(s, written) {
		err = fmt.Errorf("%s: the state that was written differs from the one that was read back", p)
	}
	return err
}

// writeSites copies the named sites, which the store verifies.
func (p statePath) writeSites(ids []string, from *site.Store) error {
	if len(ids) == 0 {
		return nil
	}
	to, err := p.limits.open(p.directory())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := p.writeSite(id, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (p statePath) writeSite(id string, from, to *site.Store) error {
	for !to.Have(id).Complete {
		part, err := from.Read(id, to.Have(id).Have, zeekapi.MaxSitePart)
		if err != nil {
			return err
		}
		if at, err := to.Append(part); err != nil || at.Have <= part.Offset {
			return cmp.Or(err, fmt.Errorf("site %s: %s accepts no more than %d bytes", id, p, at.Have))
		}
	}
	return nil
}

// inEtcd is a state in etcd.
type inEtcd struct {
	etcdstore.Config
	limits siteSettings
}

func (e inEtcd) String() string { return "etcd at " + strings.Join(e.Endpoints, ", ") }

func (e inEtcd) read(ctx context.Context) (controller.State, bool, error) {
	return etcdstore.Read(ctx, e.Config)
}

func (e inEtcd) write(ctx context.Context, s controller.State, from *site.Store) error {
	return etcdstore.Write(ctx, e.Config, s, from)
}

func (e inEtcd) sites(ctx context.Context, ids []string) (*site.Store, func(), error) {
	dir, err := os.MkdirTemp("", "zeekwire-sites-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	store, err := e.limits.open(dir)
	if err == nil {
		_, err = etcdstore.ReadSites(ctx, e.Config, ids, store)
	}
	if err != nil {
		remove()
	}
	return store, remove, err
}

// storedOf returns those of the named sites that a store has. The store may be nil.
func storedOf(ids []string, store *site.Store) []string {
	if store == nil {
		return nil
	}
	all := store.Sites()
	return slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(all, id) })
}

// copyState copies a state, and returns a summary.
func copyState(ctx context.Context, from, to place, replace bool) (string, error) {
	state, ok, err := from.read(ctx)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", fmt.Errorf("%s: there is no state", from)
	}
	if !replace {
		present, ok, err := to.read(ctx)
		if err != nil {
			return "", err
		}
		if ok && !etcdstore.Same(present, controller.State{}) {
			return "", fmt.Errorf("%s: there is a state already; replace it with --replace", to)
		}
	}
	sites, closeSites, err := from.sites(ctx, state.Sites())
	if err != nil {
		return "", err
	}
	defer closeSites()
	if err := to.write(ctx, state, sites); err != nil {
		return "", err
	}
	present := storedOf(state.Sites(), sites)
	summary := fmt.Sprintf("Copied %d configurations, %d deployments, %d events and %d sites from %s to %s, and compared them.",
		len(state.Configs), len(state.History), len(state.Events), len(present), from, to)
	if missing := len(state.Sites()) - len(present); missing > 0 {
		summary += fmt.Sprintf("\n%s does not have %d of the sites that configurations need. Deploy these configurations again from the directories of their sites.", from, missing)
	}
	return summary, nil
}
