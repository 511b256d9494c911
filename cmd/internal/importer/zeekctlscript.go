package importer

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

// scriptName is the name of the script with what ZeekControl tells nodes, in the site.
const scriptName = "zeekctl-settings.zeek"

// redefinition is an option of ZeekControl that becomes an option of Zeek.
type redefinition struct {
	option  string // in lower case
	byZeek  string // the value that Zeek has without it, "" for none
	form    string // of the redefinition, with %s for the value
	loggers bool   // only nodes that write logs have it
	integer bool
	broker  bool // only a Zeek with Broker has the option
}

// redefinitions are the options of ZeekControl that become options of Zeek, in the
// order of the script.
var redefinitions = []redefinition{
	{option: "mailto", form: "redef Notice::mail_dest = %s;"},
	{option: "mailalarmsto", form: "redef Notice::mail_dest_pretty_printed = %s;"},
	{option: "sendmail", form: "redef Notice::sendmail = %s;"},
	{option: "mailsubjectprefix", byZeek: "[Zeek]", form: "redef Notice::mail_subject_prefix = %s;"},
	{option: "mailfrom", form: "redef Notice::mail_from = %s;"},
	{option: "brokerdbdir", form: "redef Broker::table_store_db_directory = %s;", broker: true},
	{option: "defaultstoredir", form: "redef Cluster::default_store_dir = %s;"},
	{option: "fileextractdir", form: "redef FileExtract::prefix = %s + \"/\" + Cluster::node;"},
	{option: "logrotationinterval", byZeek: "3600", form: "redef Log::default_rotation_interval = %s secs;", loggers: true, integer: true},
	{option: "mailalarmsinterval", byZeek: "86400", form: "redef Log::default_mail_alarms_interval = %s secs;", loggers: true, integer: true},
	{option: "pcapsnaplen", byZeek: "9216", form: "redef Pcap::snaplen = %s;", integer: true},
	{option: "pcapbufsize", byZeek: "128", form: "redef Pcap::bufsize = %s;", integer: true},
}

// settingsScript returns the text of a script with the options of Zeek that options of
// ZeekControl set, or "" if there are none.
func settingsScript(o zeekctl.Options) string {
	var common, loggers strings.Builder
	for _, r := range redefinitions {
		option := o.Get(r.option)
		if option == nil || option.Value == "" || option.Value == r.byZeek {
			continue
		}
		value := zeekString(option.Value)
		if r.integer {
			value = strconv.Itoa(o.Int(r.option, 0))
		}
		out := &common
		if r.loggers {
			out = &loggers
		}
		text := fmt.Sprintf(r.form, value)
		if r.broker {
			text = "@ifdef ( Broker::table_store_db_directory )\n" + text + "\n@endif"
		}
		writeRedef(out, option, text)
	}
	if option := o.Get("privateaddressspaceislocal"); option != nil && !o.Bool(option.Name, true) {
		writeRedef(&common, option, "redef Site::private_address_space_is_local = F;")
	}
	if option := o.Get("compresslogsinflight"); option != nil && o.Int(option.Name, 0) > 0 {
		writeRedef(&common, option, fmt.Sprintf("redef LogAscii::gzip_level = %d;", o.Int(option.Name, 0)))
		writeRedef(&common, option, fmt.Sprintf("redef LogAscii::gzip_file_extension = %s;", zeekString(o.Text("compressextension", "gz"))))
	}
	if option := o.Get("metricsaddress"); option != nil && option.Value != "" {
		writeRedef(&common, option, "@ifdef ( Telemetry::metrics_address )\n@if ( |Telemetry::metrics_address| == 0 )\n"+
			"redef Telemetry::metrics_address = "+zeekString(option.Value)+";\n@endif\n@endif")
	}
	if loggers.Len() > 0 {
		common.WriteString("\n# Only for nodes that write logs.\n@if ( Cluster::local_node_type() == Cluster::LOGGER || " +
			"( Cluster::local_node_type() == Cluster::MANAGER && Cluster::manager_is_logger ) )\n" + loggers.String() + "@endif\n")
	}
	if common.Len() == 0 {
		return ""
	}
	return "# Options of ZeekControl for all nodes, made by \"zeekwire import\".\n\n@load base/frameworks/cluster\n@load base/frameworks/notice\n" + common.String()
}

func writeRedef(out *strings.Builder, o *zeekctl.Option, text string) {
	fmt.Fprintf(out, "\n# %s:%d: %s\n%s\n", filepath.Base(o.File), o.Line, o.Written, text)
}

// zeekString returns s as a string constant of a Zeek script.
func zeekString(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := range len(s) {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			out.WriteString(`\` + string(rune(b)))
		case b < ' ' || b == 0x7f:
			fmt.Fprintf(&out, `\x%02x`, b)
		default:
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
