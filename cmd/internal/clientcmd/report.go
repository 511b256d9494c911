package clientcmd

// noReason replaces a missing error text.
const noReason = "no reason given"

// report is the JSON output of most commands.
type report struct {
	Results map[string]any `json:"results"`
	Errors  []any          `json:"errors"`
}

func newReport() *report { return &report{Results: map[string]any{}, Errors: []any{}} }

// addError adds an error. The source is the name of an instance or a node, or ""
// for the controller.
func (r *report) addError(source, text string) {
	r.Errors = append(r.Errors, map[string]any{"source": orNull(source), "error": orNull(text)})
}

// orNull returns nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
