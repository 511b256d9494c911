package importer

import (
	"net/mail"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
)

// alerts carries over the mail that ZeekControl itself sends, of "zeekctl cron", to the
// alerts of the controller.
func (c *control) alerts() {
	o := c.files.options
	if space := o.Get("mindiskspace"); space != nil {
		least := "0"
		if percent := o.Int(space.Name, 0); percent > 0 {
			least = strconv.Itoa(min(percent, 100)) + "%"
		}
		for _, m := range c.Machines {
			m.set("disk-warn", least, "MinDiskSpace of ZeekControl")
		}
	}
	if sendmail := o.Get("sendmail"); sendmail != nil && sendmail.Value == "" {
		return // ZeekControl sends no mail
	}
	to := o.Get("mailto")
	if to == nil || to.Value == "" {
		return
	}
	if _, err := mail.ParseAddressList(to.Value); err != nil {
		c.leaveOption(to, "alerts of the controller need an address with a host; set alert-mail-to. Zeek's own mail is carried over.")
		return
	}
	c.Plan.control("alert-mail-to", to.Value, "MailTo of ZeekControl")
	if from := o.Get("mailfrom"); from != nil {
		if _, err := mail.ParseAddress(from.Value); err != nil {
			c.leaveOption(from, "alert-mail-from needs a mail address. Zeek's own mail is carried over.")
		} else {
			c.Plan.control("alert-mail-from", from.Value, "MailFrom of ZeekControl")
		}
	}
	c.Plan.control("alert-mail-tls", alerts.NoTLS, "the mail server is that of this machine, as for ZeekControl's sendmail")
	rules := slices.Clone(alerts.Rules)
	for name, rule := range map[string]string{"mailhostupdown": alerts.InstanceLost, "mailreceivingpackets": alerts.NoTraffic, "mailarchivelogfail": alerts.Archive} {
		if !o.Bool(name, true) {
			rules = slices.DeleteFunc(rules, func(r string) bool { return r == rule })
		}
	}
	if len(rules) < len(alerts.Rules) {
		c.Plan.control("alert-rules", strings.Join(rules, ", "), "MailHostUpDown, MailReceivingPackets and MailArchiveLogFail of ZeekControl")
	}
}
