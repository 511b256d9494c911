package clientcmd_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		controller := unresponsiveController(t)
		tool := &clientcmd.Tool{Dial: inProcess(controller)}
		go func() {
			time.Sleep(30 * time.Second)
			broker.PublishEvent(context.Background(), controller, topic, broker.NewEvent("a::b", broker.String("c")))
			controller.Publish(context.Background(), topic, broker.Count(1))
			controller.Close()
		}()
		runCommand(t, tool, "", "monitor").want(t, outcome{exit: 1,
			stdout: "no response received: websocket connection to 127.0.0.1:2149 timed out\nreceived \"a::b(\"c\")\"\nreceived \"1\"\n",
			stderr: "error: broker: closed\n"})
	})
}
