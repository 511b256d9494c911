package console

import (
	"cmp"
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

var screenshots = flag.String("screenshots", "", "directory for a screenshot of each screen, dark and light, wide and narrow")

// browserPath returns the path of a Chromium, or skips the test.
func browserPath(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("there is no Chromium: install Debian's package chromium, or set CHROMIUM to its path")
	return ""
}

// tab is a page in a browser. It fails its test if the script of the page fails.
type tab struct {
	*testing.T
	ctx  context.Context
	base string
}

// browserPatience limits the time of a test in a browser. It is for machines that do much
// else meanwhile.
const browserPatience = 5 * time.Minute

// browse opens a browser on a console.
func browse(t *testing.T, l *lab, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options = append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(browserPath(t)), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless,
		chromedp.NoSandbox, // as root in a container
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("lang", "en"),
		chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(browserPatience), chromedp.UserDataDir(t.TempDir()),
	}, options...)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // an error means that it has ended
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m := range messages {
			if m.IsException() || m.Source == "security" {
				t.Errorf("the console of the browser: %v", m)
			}
		}
	}()
	ctx, cancel = context.WithTimeout(ctx, browserPatience)
	t.Cleanup(cancel)
	return &tab{t, ctx, l.server.URL}
}

// do runs actions.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatalf("%v", err)
	}
}

// value returns the value of an action.
func value[T any](b *tab, a chromedp.Action[T]) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.Fatalf("%v", err)
	}
	return v
}

// open loads a page.
func (b *tab) open(path string) {
	b.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// text returns the visible text of an element.
func (b *tab) text(selector string) string {
	b.Helper()
	for {
		text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(selector)))
		if err == nil {
			return text
		}
		if b.ctx.Err() != nil {
			b.Fatalf("the text of %s: %v", selector, err)
		}
		time.Sleep(50 * time.Millisecond) // the page may be another one now
	}
}

// awaits waits until the visible text of the page contains a text.
func (b *tab) awaits(text string) {
	b.Helper()
	b.holds("document.body.innerText.includes(" + quote(text) + ")")
}

// holds waits until an expression is true. The page may be another one meanwhile.
func (b *tab) holds(expression string) {
	b.Helper()
	for {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		switch {
		case err == nil && ok:
			return
		case b.ctx.Err() != nil:
			b.Fatalf("waiting for %s: %v", expression, cmp.Or(err, b.ctx.Err()))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// click clicks the first visible element with a text.
func (b *tab) click(selector string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// shot writes a screenshot, if there should be any.
func (b *tab) shot(name string, dark, phone bool) {
	b.Helper()
	if *screenshots == "" {
		return
	}
	width, height := int64(1280), int64(860)
	if phone {
		name, width, height = name+"-phone", 390, 844
	}
	scheme := "light"
	if dark {
		name, scheme = name+"-dark", "dark"
	}
	b.scheme(scheme)
	b.do(chromedp.EmulateViewport(width, height), chromedp.Sleep(400*time.Millisecond)) // until transitions have ended
	png := value(b, chromedp.CaptureScreenshot())
	b.do(chromedp.EmulateViewport(1280, 860))
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o666); err != nil {
		b.Fatal(err)
	}
}

// TestScreenshots writes a screenshot of each screen, of a cluster with typical problems.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("-screenshots names no directory; see \"make screenshots\"")
	}
	l := newShowcase(t)
	b := browse(t, l)
	for _, screen := range []struct{ name, path string }{
		{"overview", "/"}, {"topology", "/topology"}, {"node", "/nodes/worker-03"}, {"machine", "/machines/sensor-02"},
		{"events", "/events"}, {"history", "/history"}, {"operate", "/operate"}, {"confirm", "/operate?do=rolling-restart&nodes=role:worker"}, {"rollback", "/rollback/1"}, {"deploy", "/deploy"}, {"access", "/access"},
	} {
		b.open(screen.path)
		for _, dark := range []bool{false, true} {
			b.shot(screen.name, dark, false)
		}
		b.shot(screen.name, false, true)
	}
	b.open(l.confirmed(rollingName, ""))
	b.shot("rolling-restart", false, false)
	b.open(l.post("/deploy", map[string][]string{"text": {showcaseText}}))
	b.awaits("What would change")
	b.shot("review", false, false)
	b.open(l.post("/deploy", map[string][]string{"text": {strings.Replace(showcaseText, "role = proxy", "role = prxy", 1) + "\n[worker-09]\ninstance = sensor-09\nrole = worker\n"}}))
	b.awaits("Problems at their lines")
	b.shot("problems", false, false)
}

// login logs in with a token.
func (b *tab) login(token string) {
	b.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS("#token")), chromedp.SendKeys(chromedp.CSS("#token"), token))
	b.click("main button")
}

// TestBrowserScreens opens each screen.
func TestBrowserScreens(t *testing.T) {
	l := newShowcase(t)
	b := browse(t, l)
	for path, want := range map[string]string{
		"/": "sensor-02", "/topology": "Missing connections", "/machines/sensor-01": "manager", "/nodes/worker-03": "received 48112 items",
		"/events": "deploying", "/events/1": "Event 1", "/history": "Roll back", "/history/1": "[worker-01]", "/deploy": "Check and review", "/access": "rolling_restart",
		"/operate": "Restart one after the other", "/operate?do=stop&nodes=role:worker": "Stops 4 nodes.",
	} {
		b.open(path)
		b.awaits(want)
		b.holds(`[...document.querySelectorAll("main time")].every((t) => !t.textContent.endsWith("Z"))`) // in the reader's zone
	}
	b.open("/nodes/worker-03")
	b.click("main details summary")
	b.awaits("It processes no traffic meanwhile.")
	before := value(b, chromedp.Evaluate[string]("document.querySelector('main').textContent"))
	l.console.watch.refresh()
	b.holds("document.querySelector('.actions details').open")
	if before == "" {
		t.Error("the page is empty")
	}
}

// TestBrowserDeploys uploads a broken file, edits it, deploys it, and rolls back.
func TestBrowserDeploys(t *testing.T) {
	l := sample(t, access.Full)
	b := browse(t, l)
	file := filepath.Join(t.TempDir(), "new.cfg")
	if err := os.WriteFile(file, []byte(clusterText("[worker-3]\ninstance = beta\nrole = wrker\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open("/deploy")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	b.holds(`document.querySelector("#text").value.includes("wrker")`)
	b.click("main form button.primary")
	b.awaits(`role "wrker" is invalid`)
	b.awaits("1 error in new.cfg")
	b.click("main a.primary")
	b.holds(`document.querySelector("#text")?.value.includes("wrker")`)
	b.do(chromedp.Evaluate[chromedp.Void](`{const t = document.querySelector("#text"); t.value = t.value.replace("wrker", "worker")}`))
	b.click("main form button.primary")
	b.awaits("starts 1 node")
	b.click("main form button.primary")
	b.awaits("Deploy: done.")
	b.open("/history")
	b.click(`a[href="/rollback/1"]`)
	b.awaits("stops and removes 1 node")
	b.click("main form button.danger")
	b.awaits("Roll back: done.")
}

// TestBrowserIsLive changes the page without loading it again, shows that the controller is lost, and
// recovers.
func TestBrowserIsLive(t *testing.T) {
	l := sample(t, access.Full)
	b := browse(t, l)
	b.open("/")
	b.awaits("All is well")
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "typing"), chromedp.Evaluate[chromedp.Void]("window.mark = 1"))
	if err := l.controller.Agent("beta").Change(t.Context(), "worker-2", zeekapi.StateCrashed); err != nil {
		t.Fatal(err)
	}
	b.awaits("is crashed")
	b.holds(`window.mark === 1 && document.activeElement.id === "q" && document.activeElement.value === "typing"`)

	listener := l.server.Listener.Addr().String()
	l.server.CloseClientConnections()
	l.server.Listener.Close()
	b.awaits("Connection to the controller lost")
	again, err := net.Listen("tcp", listener)
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: l.api}
	go second.Serve(again)
	defer second.Close()
	b.holds(`document.getElementById("connection").hidden`)
	b.holds("window.mark === 1")
}

// TestBrowserSession logs in, is told when the session ends, and comes back to the same page.
func TestBrowserSession(t *testing.T) {
	l := sample(t, access.None)
	l.console.beat = 100 * time.Millisecond
	b := browse(t, l)
	b.open("/events?kind=state")
	b.login(bobToken)
	b.awaits("bob")
	b.holds(`location.search === "?kind=state"`)
	b.open("/nodes/worker-1")
	b.awaits("Standard output")
	b.holds(`!document.querySelector("main form[method=post], .actions summary")`)
	l.setClients("carol full token:0123456789-0123456789\n")
	b.awaits("Your session has ended.")
	l.setClients("bob read-only token:" + bobToken + "\n")
	b.click("#connection a")
	b.login(bobToken)
	b.holds(`location.pathname === "/nodes/worker-1"`)
}

// TestBrowserWithoutScript reads the pages with JavaScript turned off, and deploys.
func TestBrowserWithoutScript(t *testing.T) {
	l := sample(t, access.Full)
	b := browse(t, l)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.open("/")
	if text := b.text("main"); !strings.Contains(text, "All is well") || !strings.Contains(text, "worker-2") {
		t.Errorf("the overview is %q", text)
	}
	b.open("/deploy")
	b.do(chromedp.SetValue(chromedp.CSS("#text"), clusterText("[worker-3]\ninstance = beta\nrole = worker\n")))
	b.submit("main form button.primary")
	b.reloadsUntil("starts 1 node")
	b.submit("main form button.primary")
	b.reloadsUntil("Deploy: done.")
}

// submit clicks a button that leads to another page, and waits for that page. A page that
// is loaded again before could break the request off.
func (b *tab) submit(selector string) {
	b.Helper()
	before := value(b, chromedp.Location())
	b.click(selector)
	for {
		now, err := chromedp.Run(b.ctx, chromedp.Location())
		switch {
		case err == nil && now != before:
			return
		case b.ctx.Err() != nil:
			b.Fatalf("waiting for the page after %s: %v", before, cmp.Or(err, b.ctx.Err()))
		}
		time.Sleep(50 * time.Millisecond) // an error may mean that the page is on its way
	}
}

// reloadsUntil loads the page again and again until it has a text.
func (b *tab) reloadsUntil(text string) {
	b.Helper()
	for !strings.Contains(b.text("main"), text) {
		if err := chromedp.Do(b.ctx, chromedp.Reload()); err != nil && b.ctx.Err() != nil { // it may be on the way to the next page
			b.Fatalf("waiting for %q: %v", text, err)
		}
	}
}

// TestBrowserWithManyMachines pages and filters a thousand machines.
func TestBrowserWithManyMachines(t *testing.T) {
	l := sample(t, access.Full)
	l.many(1000)
	b := browse(t, l)
	b.open("/")
	b.awaits("of 1000")
	b.click("a[rel=next]")
	b.holds(`!!document.querySelector("a[rel=prev]")`) // the first page has the word, too
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "sensor-0777\r"))
	b.awaits("sensor-0777")
	b.holds(`document.querySelectorAll("tr.machine").length === 1`)
	b.open("/topology")
	b.awaits("machines are left out")
}

// TestBrowserAccessibility has axe-core judge each screen, light and dark.
func TestBrowserAccessibility(t *testing.T) {
	script := axe(t)
	l := newShowcase(t)
	b := browse(t, l)
	broken := l.post("/deploy", map[string][]string{"text": {strings.Replace(showcaseText, "role = proxy", "role = prxy", 1)}})
	good := l.post("/deploy", map[string][]string{"text": {strings.Replace(showcaseText, "TZ=UTC", "TZ=CET", 1)}})
	rolling := l.confirmed(rollingName, "")
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, path := range []string{
			"/", "/?show=problems", "/topology", "/nodes/worker-03?value=x", "/machines/sensor-01", "/events", "/events/3", "/history", "/history/1", "/rollback/1",
			"/deploy", "/operate", "/operate?do=stop", rolling, "/access", "/nothing", broken, good,
		} {
			b.open(path)
			b.judge(script, path+" "+scheme)
		}
	}
	shared := sample(t, access.Full)
	shared.report(time.Now(), zeekapi.ControllerMember{Name: "c2", Leads: true, HTTP: "https://c2.example"}, zeekapi.ControllerMember{Name: "c1", Behind: 3})
	standby := browse(t, shared)
	standby.open("/controllers")
	standby.judge(script, "/controllers")
	none := browse(t, sample(t, access.None))
	none.open("/")
	none.judge(script, "/login")
}

// judge reports the violations that axe-core finds.
func (b *tab) judge(script, what string) {
	b.Helper()
	type violation struct {
		ID    string
		Help  string
		Nodes []struct{ HTML string }
	}
	b.do(chromedp.Evaluate[chromedp.Void](script + ";0"))
	found := value(b, chromedp.Evaluate[[]violation]("axe.run().then((r) => r.violations.map((v) => ({ID: v.id, Help: v.help, Nodes: v.nodes.map((n) => ({HTML: n.html + ' ' + n.failureSummary}))})))", chromedp.EvalAwaitPromise))
	for _, v := range found {
		b.Errorf("%s: %s: %s: %v", what, v.ID, v.Help, v.Nodes)
	}
}

// axe returns the text of axe-core, or skips the test.
func axe(t *testing.T) string {
	t.Helper()
	browserPath(t)
	path := cmp.Or(os.Getenv("AXE"), "../../../bin/axe/package/axe.min.js")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("there is no axe-core at %s: run \"make axe\", or set AXE to the path of axe.min.js", path)
	}
	return string(text)
}

// scheme sets the colour scheme that the reader prefers.
func (b *tab) scheme(name string) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}); err != nil {
		b.Fatal(err)
	}
}
