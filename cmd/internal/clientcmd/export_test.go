package clientcmd

var (
	AddedOutput = addedOutput
	LastLines   = lastLines
	Age         = age
)

// Views has a value of the type of the JSON output of each command.
var Views = map[string]any{
	"status": statusView{}, "diff": diffView{}, "history": deploymentView{}, "events": eventView{}, "rolling-restart": jobView{},
	"netstats": []any{nodeTrafficView{}, interfaceView{}, remarksView{}}, "peers": []any{peersView{}, remarksView{}},
	"df": []any{spaceView{}, remarksView{}}, "scripts": nodeScriptsView{}, "top": remarksView{},
}

// OtherViews are further parts of the JSON output, whose keys the help of several
// commands describes.
var OtherViews = map[string]any{
	"alerts": alertsView{}, "diag": diagnosisView{}, "cleanup": leftoverView{}, "top": placedNodeView{}, "get-nodes": nodeStateView{},
}
