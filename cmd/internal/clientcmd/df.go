package clientcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

const day = 24 * time.Hour

func (t *Tool) df() *cobra.Command {
	cmd := t.command("df [INSTANCE...]", "Show the disk space of the controller and of instances",
		func(ctx context.Context, r *run, args []string) error {
			chosen, err := selection.NewMatcher(args)
			if err != nil {
				return r.misuse("%v", err)
			}
			f, err := askOperation(ctx, r, "the space on disks", func(ctx context.Context, c *client.Client) (zeekapi.Figures, error) {
				return c.Figures(ctx, day) // the space needs no fresh measurements of nodes
			})
			if err != nil {
				return err
			}
			s := newSpaces(f, chosen, len(args) == 0)
			if err := r.present(s.view(), func() []terminal.Line { return s.lines(r.screen) }); err != nil {
				return err
			}
			return failIf(len(s.problems) > 0)
		})
	cmd.Long = cmd.Short + `: of the file
systems with their state, the spool directory of rotated logs, and the archive
of logs; of all machines, or of the named instances. INSTANCE may be a glob such
as 'sensor-*', or a pattern such as 'sensor-[01-40]'.

Services measure the space every minute. The growth is the slope of the line
that fits the used space of the last 24 hours best (least squares), or of the
time since the service started, but at least ten minutes. The forecast assumes
that the growth stays the same.

A forecast below a week, or a use above 80%, is shown in the colour of warnings.
A forecast below a day, or a use above 95%, is shown in the colour of errors.

The JSON has the key directories, a list with service ("controller" or "agent"),
name, purpose ("state", "spool" or "archive"), path, size, used and free
(bytes), growth (bytes per second) in period (seconds), full_in (seconds) and
error. Unknown values are null, and so is full_in if there is no forecast.` + remarksHelp
	return cmd
}

// space is the space of a directory, with its service.
type space struct {
	service, name string
	zeekapi.DirectorySpace
}

// spaces are the spaces of the shown machines.
type spaces struct {
	figures
	all []space
}

// newSpaces returns the spaces of the chosen instances, or of all machines.
func newSpaces(f zeekapi.Figures, chosen *selection.Matcher, all bool) spaces {
	s := spaces{figures: figures{Figures: f}}
	add := func(service, name string, directories []zeekapi.DirectorySpace) {
		for _, d := range directories {
			s.all = append(s.all, space{service, name, d})
		}
	}
	if all {
		add("controller", f.Controller, f.Directories)
	}
	for _, i := range f.Instances {
		if !all && !chosen.Match(i.Instance) {
			continue
		}
		add("agent", i.Instance, i.Directories)
		if i.Error != "" {
			s.problems = append(s.problems, remark{i.Instance, i.Error})
		}
		if i.Note != "" {
			s.notes = append(s.notes, remark{i.Instance, i.Note})
		}
	}
	for _, word := range chosen.Unused() {
		s.problems = append(s.problems, remark{word, "unknown instance"})
	}
	return s
}

type spaceView struct {
	Service string   `json:"service"`
	Name    string   `json:"name"`
	Purpose string   `json:"purpose"`
	Path    string   `json:"path"`
	Size    *uint64  `json:"size"`
	Used    *uint64  `json:"used"`
	Free    *uint64  `json:"free"`
	Growth  *float64 `json:"growth"`
	Period  *float64 `json:"period"`
	FullIn  *float64 `json:"full_in"`
	Error   *string  `json:"error"`
}

func (s spaces) view() any {
	return struct {
		Directories []spaceView `json:"directories"`
		remarksView
	}{list(s.all, newSpaceView), s.remarks()}
}

func newSpaceView(s space) spaceView {
	v := spaceView{Service: s.service, Name: s.name, Purpose: s.Purpose, Path: s.Path, Error: orNull(s.Error)}
	if s.Error == "" {
		v.Size, v.Used, v.Free = &s.Size, &s.Used, &s.Free
	}
	if s.Period > 0 {
		growth, period := signed(s.Growth), s.Period.Seconds()
		v.Growth, v.Period = &growth, &period
	}
	if s.FullIn > 0 {
		seconds := s.FullIn.Seconds()
		v.FullIn = &seconds
	}
	return v
}

// signed returns a number that a peer sent, or 0 if it is not finite.
func signed(f float64) float64 { return finite(f) - finite(-f) }

func (s spaces) lines(screen terminal.Screen) []terminal.Line {
	t := &terminal.Table{
		Header: []string{"MACHINE", "DIRECTORY", "SIZE", "USED", "FREE", "USE", "GROWTH/DAY", "FULL IN", "PATH"},
		Right:  []bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true},
		Spare:  []int{8, 3, 2},
	}
	for _, d := range s.all {
		name := d.name
		if d.service == "controller" {
			name += " (controller)"
		}
		if d.Error != "" {
			t.Add(cell(name), cell(d.Purpose), cell(""), cell(""), cell(""), cell(""), cell(""), cell(""), terminal.Span{Text: inOneLine(d.Error), Style: terminal.Bad})
			continue
		}
		t.Add(cell(name), cell(d.Purpose), cell(spaceText(d.Size)), cell(spaceText(d.Used)), cell(spaceText(d.Free)),
			d.useCell(), cell(d.growthText()), d.forecastCell(), cell(d.Path))
	}
	if t.Len() == 0 {
		return append([]terminal.Line{terminal.Text("No directories were measured.")}, s.figures.lines()...)
	}
	return append(t.Lines(screen), s.figures.lines()...)
}

// useCell returns the used share of the space that unprivileged users can use, as df(1).
func (s space) useCell() terminal.Span {
	if s.Used+s.Free == 0 {
		return terminal.Span{}
	}
	percent := useOf(s.DirectorySpace) * 100
	return terminal.Span{Text: fmt.Sprintf("%.0f%%", percent), Style: alarm(percent > 80, percent > 95)}
}

// useOf returns the used share of the space that unprivileged users can use, 0 without a
// measurement.
func useOf(d zeekapi.DirectorySpace) float64 {
	if d.Used+d.Free == 0 {
		return 0
	}
	return float64(d.Used) / (float64(d.Used) + float64(d.Free))
}

func (s space) growthText() string {
	if s.Period <= 0 {
		return ""
	}
	perDay := signed(s.Growth) * day.Seconds()
	if perDay < 0 {
		return "-" + spaceText(uint64(min(-perDay, 1e18)))
	}
	return spaceText(uint64(min(perDay, 1e18)))
}

func (s space) forecastCell() terminal.Span {
	if s.FullIn <= 0 {
		return terminal.Span{}
	}
	return terminal.Span{Text: age(s.FullIn), Style: alarm(s.FullIn < 7*day, s.FullIn < day)}
}

// alarm returns the colour of a value that may be a problem.
func alarm(warn, bad bool) terminal.Style {
	switch {
	case bad:
		return terminal.Bad
	case warn:
		return terminal.Warn
	}
	return terminal.Plain
}

// spaceText formats a number of bytes with a binary unit.
func spaceText(bytes uint64) string {
	units := "KMGTPE"
	value, unit := float64(bytes)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if value < 10 && unit > 0 {
		return fmt.Sprintf("%.1f%c", value, units[unit])
	}
	return fmt.Sprintf("%.0f%c", value, units[unit])
}
