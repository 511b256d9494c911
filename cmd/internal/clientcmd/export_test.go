package clientcmd

var (
	AddedOutput = addedOutput
	LastLines   = lastLines
	Age         = age
)

// Views are what commands write as JSON.
var Views = map[string]any{
	"status": statusView{}, "diff": diffView{}, "history": deploymentView{}, "events": eventView{}, "rolling-restart": jobView{},
}
