package console

import (
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// loads is the number of times that the overview is loaded.
const loads = 15

// TestBrowserFirstPaint reports the time from the beginning of a navigation to the first
// paint of the overview of 100 machines, and limits the size of all that the browser loads.
// No time is checked: see "make console-figures".
func TestBrowserFirstPaint(t *testing.T) {
	l := sample(t, access.Full)
	l.many(100)
	b := browse(t, l)
	var paints []float64
	for range loads {
		b.open("/")
		b.do(chromedp.Sleep(500 * time.Millisecond)) // without questions, which make the browser work
		b.holds(`performance.getEntriesByName("first-contentful-paint").length > 0`)
		b.awaits("of 100")
		paints = append(paints, value(b, chromedp.Evaluate[float64](`performance.getEntriesByName("first-contentful-paint")[0].startTime`)))
	}
	first := paints[0]
	slices.Sort(paints)
	t.Logf("overview of 100 machines: first paint after %.0f ms at best, %.0f ms in the median of %d loads, %.0f ms the first time", paints[0], paints[len(paints)/2], loads, first)
	const size = `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.decodedBodySize, 0)`
	weight := value(b, chromedp.Evaluate[float64](size))
	t.Logf("the page and its files have %.0f bytes", weight)
	if weight < 20_000 || weight > 150_000 {
		t.Errorf("the page and its files have %.0f bytes, want 150000 at most", weight)
	}
}

// TestBrowserUploadsSite chooses a cluster file and the directory of its site, as somebody at
// the keyboard does, and deploys both.
func TestBrowserUploadsSite(t *testing.T) {
	l := sample(t, access.Full)
	dir := t.TempDir()
	for name, text := range map[string]string{"my-site/local.zeek": "# local\n", "my-site/sub/more.zeek": "# more\n", "new.cfg": withSite()} {
		writeFile(t, dir, name, text)
	}
	b := browse(t, l)
	b.open("/deploy")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{dir + "/new.cfg"}))
	b.holds(`document.querySelector("#text").value.includes("my-site")`)
	b.submit("main form button.primary")
	b.awaits("choose the directory")
	b.submit("main a.primary")
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#site-files"), []string{dir + "/my-site"}))
	b.holds(`document.querySelector("#site-files").files.length === 2`)
	b.submit("main form button.primary")
	b.awaits("from my-site: 2 files")
	b.submit("main form button.primary")
	b.awaits("Deploy: done.")
	if site := l.deployedSite(); len(site) != 2 || site["sub/more.zeek"] != "# more\n" {
		t.Errorf("the site is %v", site)
	}
}

// TestBrowserRollingRestart restarts the workers one after the other, after a confirmation.
func TestBrowserRollingRestart(t *testing.T) {
	l := sample(t, access.Full)
	b := browse(t, l)
	b.open("/operate")
	b.do(chromedp.SendKeys(chromedp.CSS("#nodes"), "role:worker"))
	b.submit("main form button.primary")
	b.awaits("Restarts 2 nodes, 1 at a time")
	b.submit("main form button.primary")
	b.holds(`location.pathname === "/rolling-restart/1"`)
	b.awaits("done, 2 nodes.") // without loading the page again
	b.holds(`document.querySelector("progress").value === 2`)
}

// TestBrowserLayout checks that no screen is wider than a phone, that nothing moves while a
// page loads and becomes live, and that the content can be reached with the keyboard.
func TestBrowserLayout(t *testing.T) {
	l := newShowcase(t)
	b := browse(t, l)
	const shifts = `new Promise((done) => {
		let sum = 0, moved = "";
		new PerformanceObserver((list) => {
			for (const e of list.getEntries()) {
				if (e.hadRecentInput) continue;
				sum += e.value;
				for (const s of e.sources) moved += " " + (s.node?.outerHTML || s.node?.data || "").slice(0, 80);
			}
		}).observe({type: "layout-shift", buffered: true});
		setTimeout(() => done({Sum: sum, Moved: moved}), 300);
	})`
	for _, path := range []string{"/", "/topology", "/nodes/worker-03", "/machines/sensor-02", "/events", "/history", "/deploy", "/operate", "/operate?do=stop", "/access"} {
		b.do(chromedp.EmulateViewport(1280, 860))
		b.open(path)
		b.holds(`document.readyState === "complete"`)
		if shift := value(b, chromedp.Evaluate[struct {
			Sum   float64
			Moved string
		}](shifts, chromedp.EvalAwaitPromise)); shift.Sum > 0.1 {
			t.Errorf("%s: the layout moves by %.3f, where 0.1 is the limit of a good page: %s", path, shift.Sum, shift.Moved)
		}
		b.do(chromedp.EmulateViewport(390, 844))
		b.open(path)
		b.holds(`document.readyState === "complete"`)
		if wide := value(b, chromedp.Evaluate[float64](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
			t.Errorf("%s is %.0f pixels wider than a phone", path, wide)
		}
	}
	b.open("/")
	b.do(chromedp.KeyEvent("\t"))
	b.holds(`document.activeElement.className === "skip"`)
	b.do(chromedp.KeyEvent("\r"))
	b.holds(`document.activeElement.id === "main"`)
}
