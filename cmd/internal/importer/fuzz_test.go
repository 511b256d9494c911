package importer

import (
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/zeekconf"
	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

// FuzzZeekConf checks that every accepted zeek.conf becomes a cluster file with the same
// nodes, or is refused with a reason.
func FuzzZeekConf(f *testing.F) {
	for _, seed := range []string{
		"manager = 1\nloggers = 1\nproxies = 1\nworkers = 2\ninterface = eth${worker_index0}\n",
		"[zeek]\nargs = a -C B::c=1\nenv = A=\"b c\"\n  D=%%e\n[interface x]\nworkers = 3\ninterface = af_packet::x\nworkers_cpu_list = 1-2\nworker_args = x=T\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := zeekconf.Parse("zeek.conf", strings.NewReader(text))
		if err != nil {
			return
		}
		plan, err := zeekConf([]*zeekconf.Config{c}, "/opt/zeek")
		checkPlan(t, plan, err)
	})
}

// FuzzZeekControl checks the same of the files of ZeekControl.
func FuzzZeekControl(f *testing.F) {
	f.Add("[manager]\ntype=manager\nhost=10.0.0.1\n[proxy]\ntype=proxy\nhost=h2\n[w]\ntype=worker\nhost=h2\ninterface=eth0\nlb_method=af_packet\nlb_procs=2\npin_cpus=1,2\n",
		"MailTo=a\nEnv_Vars=A='b c',D=1\nZeekArgs=-C x::y=1 z\nMemLimit=100\nLogExpireInterval=3 hrs\n")
	f.Add("[zeek]\ntype=standalone\nhost=localhost\ninterface=eth0\naux_scripts=a b::c=1\n", "SitePolicyScripts=\nPrefixes=a:b\n")
	f.Fuzz(func(t *testing.T, nodes, options string) {
		var files zeekControlFiles
		var err error
		if files.options, err = zeekctl.ParseOptions(optionsName, strings.NewReader(options)); err != nil {
			return
		}
		files.nodesFile, files.optionsFile = nodesName, optionsName
		if files.nodes, files.warnings, err = zeekctl.ParseNodes(nodesName, strings.NewReader(nodes), files.options); err != nil {
			return
		}
		files.options.All = append(files.options.All, &zeekctl.Option{Name: "zeekbase", Value: "/no-such-directory"})
		plan, err := zeekControl(files, "")
		checkPlan(t, plan, err)
	})
}

func checkPlan(t *testing.T, plan *Plan, err error) {
	t.Helper()
	if err != nil {
		if !strings.Contains(err.Error(), "cannot be") {
			t.Error(err)
		}
		return
	}
	if _, err := plan.ClusterFile(); err != nil && !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("%v\n%+v", err, plan.Configuration())
	}
	for _, m := range plan.Machines {
		settingsFile(m.Name, m.Settings)
	}
	_ = plan.leftText()
}
