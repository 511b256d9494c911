package clientcmd

var (
	Grown     = grown
	LastLines = lastLines
	Age       = age
)
