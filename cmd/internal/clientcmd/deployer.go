package clientcmd

import (
	"context"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// deployer makes the deployment of a command.
type deployer struct {
	*session
	deployOptions
	ours bool // whether the controller is zeekwire's; false for zeek-client
}

// newDeployer returns a deployer that has no connection yet.
func (r *run) newDeployer(o deployOptions) *deployer {
	return &deployer{session: &session{run: r, work: "the deployment", limit: o.wait}, deployOptions: o, ours: true}
}

// connectToDeploy returns a deployer for the options.
func (r *run) connectToDeploy(ctx context.Context, o deployOptions) (*deployer, error) {
	d := r.newDeployer(o)
	var err error
	switch {
	case o.dryRun:
		d.client, err = r.connectExtended(ctx, "dry runs")
	case o.check:
		d.client, err = r.connectExtended(ctx, "checks of configurations")
	case o.sent != (zeekapi.DeployOptions{}):
		d.client, err = r.connectExtended(ctx, "such options of deployments")
	default:
		if d.client, err = r.connectAsTool(ctx); err != nil {
			break
		}
		if d.ours, err = d.isOurs(ctx); err != nil {
			d.client.Close()
		}
	}
	return d, err
}

// connectToDeployConfig is connectToDeploy for a configuration from a file, whose
// site it uploads, except for a dry run.
func (r *run) connectToDeployConfig(ctx context.Context, o deployOptions, config zeekapi.Configuration) (*deployer, error) {
	if o.dryRun || config.Site == "" {
		return r.connectToDeploy(ctx, o)
	}
	d := r.newDeployer(o)
	var err error
	d.client, err = r.connectWithSite(ctx, config)
	return d, err
}

// connectAsTool is connectAll for the commands of both tools. With Extended, the client
// receives the events of zeekwire's controllers, which show the progress of changes, and
// announce answers from a stored state. Without, it is only a client of Zeek's API.
func (r *run) connectAsTool(ctx context.Context) (*client.Client, error) {
	if r.tool.Extended {
		return r.connectAll(ctx)
	}
	return r.connect(ctx)
}

// isOurs reports whether the controller is zeekwire's, and the command may use that.
func (d *deployer) isOurs(ctx context.Context) (bool, error) {
	if !d.tool.Extended || !d.client.Has(zeekapi.GetInstancesRequest{}) {
		return false, nil
	}
	return d.speaksOperations(ctx, d.client)
}

// staged returns the staged configuration, or the zero value if it is not known.
func (d *deployer) staged(ctx context.Context) (zeekapi.Configuration, error) {
	if !d.tool.Extended || !d.client.Has(zeekapi.GetConfigurationRequest{}) {
		return zeekapi.Configuration{}, nil
	}
	config, err := askOn(ctx, d.run, d.client, getConfiguration(false))
	if _, none := refusal(err); err != nil && !none {
		return config, requestError(err, "configuration")
	}
	return config, nil
}

// getConfiguration returns a call for the deployed or the staged configuration.
func getConfiguration(deployed bool) func(context.Context, *client.Client) (zeekapi.Configuration, error) {
	return func(ctx context.Context, c *client.Client) (zeekapi.Configuration, error) {
		return c.GetConfiguration(ctx, deployed)
	}
}

// upload uploads a configuration and deploys it.
func (d *deployer) upload(ctx context.Context, config zeekapi.Configuration) error {
	if !d.client.Has(zeekapi.StageConfigurationRequest{}) {
		// In this dialect, one request uploads and deploys.
		return d.deploy(ctx, "Deploying", noteFor(config), config, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
			return c.SetConfiguration(ctx, config)
		})
	}
	staged, err := d.stage(ctx, d.client, config)
	if err != nil {
		return err
	}
	if len(staged.Errors) > 0 {
		if err := d.showStaged(staged); err != nil {
			return err
		}
		return &ExitError{Code: 1}
	}
	return d.deployStaged(ctx, config)
}

// deployStaged deploys the staged configuration, which is config or not known. If config
// is no longer staged, our controller refuses.
func (d *deployer) deployStaged(ctx context.Context, config zeekapi.Configuration) error {
	return d.deploy(ctx, "Deploying", noteFor(config), config, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
		if d.ours {
			return c.DeployConfiguration(ctx, config.ID, d.sent)
		}
		return c.Deploy(ctx)
	})
}

// noNode describes a successful deployment that started no node.
const noNode = "No node had to start."

// noteFor returns the note of a deployment of a configuration.
func noteFor(config zeekapi.Configuration) string {
	if len(config.Nodes) == 0 {
		return noCluster
	}
	return noNode
}

// deploy makes a call that deploys a configuration, which may be the zero value. It
// shows the progress, follows the deployment to its end, also over a lost connection,
// and shows the result.
func (d *deployer) deploy(ctx context.Context, title, note string, config zeekapi.Configuration,
	call func(context.Context, *client.Client) (client.DeployResult, error),
) error {
	edited, before := d.before(ctx)
	ended := make(chan struct{}, 1)
	stop := d.show(ctx, newProgress(title, config.Nodes), func(e zeekapi.ClusterEvent) {
		if e.Kind == zeekapi.EventDeployed {
			select {
			case ended <- struct{}{}:
			default:
			}
		}
	})
	shown := deploymentOutput{note: note}
	var err error
	shown.DeployResult, err = askOn(ctx, d.run, d.client, call)
	if isLost(err) && d.ours && d.wait > 0 && ctx.Err() == nil {
		err = d.recover(ctx, &shown, config.ID, before, err)
	}
	if err == nil && d.ours && shown.Continues && d.wait > 0 {
		err = d.follow(ctx, &shown, config.ID, ended)
	}
	stop()
	d.reportInterrupted(ctx)
	if err != nil {
		return requestError(err, "deployment")
	}
	if !d.sent.Force && shown.ID != "" {
		shown.edited = edited.restartedBy(shown.DeployResult)
	}
	if err := d.showDeployment(shown); err != nil {
		return err
	}
	d.printHint(shown.DeployResult)
	return failIf(shown.Failed)
}

// show is showProgress, also over a lost connection.
func (s *session) show(ctx context.Context, p *progress, onEvent func(zeekapi.ClusterEvent)) (stop func()) {
	stopNow := s.showProgress(ctx, s.client, p, onEvent)
	s.detach = func() {
		stopNow()
		stopNow = func() {}
	}
	s.attach = func(c *client.Client) { stopNow = s.showProgress(ctx, c, p, onEvent) }
	return func() { s.detach() }
}

// reportInterrupted reports, after an interrupt, that the controller continues the
// request.
func (r *run) reportInterrupted(ctx context.Context) {
	if ctx.Err() != nil && r.tool.Extended {
		r.error("stopped waiting; the controller continues the request, see status")
	}
}

// deploymentOutput is what a command shows of a deployment or of a check.
type deploymentOutput struct {
	client.DeployResult
	note  string              // describes a success that started no node, in place of an empty table
	check bool                // nothing was to be deployed
	entry *zeekapi.Deployment // in the history; nil unless the command waited for it

	edited []string // nodes that restarted because their scripts had changed
}

// showDeployment prints the result of a deployment.
func (r *run) showDeployment(d deploymentOutput) error {
	for _, result := range d.Strange {
		r.warning("skipping unexpected response (success %t, error %q, node %q)", result.Success, result.Error, result.Node)
	}
	out := newReport()
	for _, text := range d.Errors {
		out.Errors = append(out.Errors, text)
	}
	if d.ID != "" {
		out.Results["id"] = d.ID
	}
	if len(d.Nodes) > 0 {
		out.Results["nodes"] = r.nodeViews(d.Nodes)
	}
	if r.tool.Extended {
		d.addViews(out.Results)
	}
	return r.present(out, func() []terminal.Line { return r.deploymentTable(d, out) })
}

// nodeViews returns the results of nodes for JSON.
func (r *run) nodeViews(nodes []client.DeployedNode) any {
	type shown struct {
		Success  bool    `json:"success"`
		Instance string  `json:"instance"`
		Error    *string `json:"error,omitempty"` // zeek-client does not have it, nor the line of a failed node
		Line     *int    `json:"line,omitempty"`
		Stdout   *string `json:"stdout,omitempty"`
		Stderr   *string `json:"stderr,omitempty"`
	}
	views := map[string]shown{}
	for _, n := range nodes {
		s := shown{Success: n.Success, Instance: n.Instance}
		if r.tool.Extended {
			s.Error = orNull(n.Error)
			if !n.Success {
				s.Line = orNull(r.lineOf(n.Node))
			}
		}
		if n.Outputs != nil {
			s.Stdout, s.Stderr = &n.Outputs.Stdout, &n.Outputs.Stderr
		}
		views[n.Node] = s
	}
	return views
}

// addViews adds the results that zeek-client does not have.
func (d deploymentOutput) addViews(results map[string]any) {
	if len(d.Remarks) > 0 {
		results["remarks"] = remarkViews(d.DeployResult)
	}
	if len(d.edited) > 0 {
		results["edited"] = d.edited
	}
	if d.entry != nil {
		results["deployment"] = newDeploymentView(*d.entry)
	}
}
