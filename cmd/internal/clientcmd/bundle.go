package clientcmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/version"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/redact"
)

// bundleFile is a file of a bundle.
type bundleFile struct{ name, text string }

// bundleEvents and bundleDeployments limit the events and deployments in a bundle. It has
// the newest ones.
const (
	bundleEvents      = 200
	bundleDeployments = 20
)

// writeBundle writes a diagnosis, the status, events and deployments to a file for a report.
// It masks secrets in all texts, including those that the agent has masked, and the secrets
// in environment variables of all nodes. Only the owner of the file may read it.
func (r *run) writeBundle(ctx context.Context, c *client.Client, file, node string, d zeekapi.Diagnosis) error {
	files, err := r.bundleFiles(ctx, c, node, d)
	if err != nil {
		return err
	}
	config, err := askOn(ctx, r, c, getConfiguration(true))
	if _, refused := refusal(err); err != nil && !refused {
		return requestError(err, "configuration")
	}
	var secrets []string
	for _, n := range config.Nodes {
		secrets = append(secrets, redact.Secrets(n.Env)...)
	}
	packed, err := packBundle(node, files, secrets, time.Now())
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(packed)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

func (r *run) bundleFiles(ctx context.Context, c *client.Client, node string, d zeekapi.Diagnosis) ([]bundleFile, error) {
	status, err := r.requestStatus(ctx, c, true)
	if err != nil {
		return nil, err
	}
	events, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]zeekapi.ClusterEvent, error) {
		return c.Events(ctx, 0, bundleEvents)
	})
	if err != nil {
		return nil, requestError(err, "events")
	}
	history, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]zeekapi.Deployment, error) {
		return c.History(ctx, bundleDeployments)
	})
	if err != nil {
		return nil, requestError(err, "history")
	}
	files := []bundleFile{
		{"client.txt", "zeekwire " + version.String() + "\n"},
		{"stdout", d.Outputs.Stdout}, {"stderr", d.Outputs.Stderr}, {"limits", d.Limits},
		{"scripts", strings.Join(d.Scripts, "\n") + "\n"},
	}
	for _, v := range []struct {
		name  string
		value any
	}{
		{"diagnosis.json", newDiagnosisView(node, d)}, {"status.json", newStatusView(status)},
		{"events.json", list(events, newEventView)}, {"history.json", list(history, newDeploymentView)},
	} {
		text, err := json.MarshalIndent(v.value, "", "  ")
		if err != nil {
			return nil, err
		}
		files = append(files, bundleFile{v.name, string(text) + "\n"})
	}
	for _, f := range d.Files {
		files = append(files, bundleFile{"node/" + path.Base(f.Name), f.Data})
	}
	return files, nil
}

// packBundle returns an archive with masked files in a directory that names the node.
func packBundle(node string, files []bundleFile, secrets []string, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	dir := fmt.Sprintf("zeekwire-%s-%s", path.Base(node), now.UTC().Format("20060102-150405"))
	for _, f := range files {
		text := redact.Without(secrets, f.text)
		h := &tar.Header{Name: dir + "/" + f.name, Mode: 0o600, Size: int64(len(text)), ModTime: now.Truncate(time.Second), Typeflag: tar.TypeReg}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write([]byte(text)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
