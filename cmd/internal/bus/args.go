package bus

import (
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// ArgForms describes the syntax of arguments, for help and error messages.
const ArgForms = `  bool:T                 time:2026-11-22T10:00:00Z
  count:42               interval:90s
  int:-7                 addr:10.0.0.1
  double:1.5             subnet:10.0.0.0/8
  string:any text        port:80/tcp
  enum:Conn::LOG         none:
  set[addr]:10.0.0.1,10.0.0.2
  vector[count]:1,2,3
  json:{"@data-type":"table","data":[...]}   any value, in Broker's JSON`

// kinds maps the names of types in Zeek's scripts to kinds. The names in
// Broker's JSON are accepted as well; see broker.KindByName.
var kinds = map[string]broker.Kind{
	"none": broker.KindNone, "bool": broker.KindBoolean, "count": broker.KindCount,
	"int": broker.KindInteger, "double": broker.KindReal, "string": broker.KindString,
	"addr": broker.KindAddress, "subnet": broker.KindSubnet, "port": broker.KindPort,
	"time": broker.KindTimestamp, "interval": broker.KindTimespan, "enum": broker.KindEnum,
}

// ParseArg parses an argument of the form TYPE:TEXT.
func ParseArg(arg string) (broker.Value, error) {
	typ, text, ok := strings.Cut(arg, ":")
	if !ok {
		return broker.Value{}, fmt.Errorf("argument %q has no type; write it as one of\n%s", arg, ArgForms)
	}
	v, err := parseTyped(typ, text)
	if err != nil {
		return broker.Value{}, fmt.Errorf("argument %q: %w", arg, err)
	}
	return v, nil
}

func parseTyped(typ, text string) (broker.Value, error) {
	if typ == "json" {
		return jsonv1.DecodeValue([]byte(text))
	}
	outer, inner, _ := strings.Cut(typ, "[")
	inner, isContainer := strings.CutSuffix(inner, "]")
	if !isContainer {
		return parseScalar(typ, text)
	}
	var elems []broker.Value
	if text != "" {
		for elem := range strings.SplitSeq(text, ",") {
			v, err := parseScalar(inner, elem)
			if err != nil {
				return broker.Value{}, err
			}
			elems = append(elems, v)
		}
	}
	switch outer {
	case "set":
		return broker.Set(elems...), nil
	case "vector":
		return broker.Vector(elems...), nil
	}
	return broker.Value{}, fmt.Errorf("unknown type %q; write it as one of\n%s", typ, ArgForms)
}

func parseScalar(typ, text string) (broker.Value, error) {
	kind, ok := kinds[typ]
	if !ok {
		kind, ok = broker.KindByName(typ)
	}
	if !ok || kind >= broker.KindSet {
		return broker.Value{}, fmt.Errorf("unknown type %q; write it as one of\n%s", typ, ArgForms)
	}
	return broker.ParseValue(kind, text)
}
