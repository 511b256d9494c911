package clientcmd

var (
	AddedOutput = addedOutput
	LastLines   = lastLines
	Age         = age
)

// Views has a value of the type of the JSON output of each command.
var Views = map[string]any{
	"status": statusView{}, "diff": diffView{}, "history": deploymentView{}, "events": eventView{}, "rolling-restart": jobView{},
}
