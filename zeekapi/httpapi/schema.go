package httpapi

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// schemas makes the schemas of Go types from the tags by which package record converts
// them. It implements huma.Registry.
type schemas struct {
	named map[string]*huma.Schema
	types map[string]reflect.Type
}

const schemaPrefix = "#/components/schemas/"

func newSchemas() *schemas {
	return &schemas{named: make(map[string]*huma.Schema), types: make(map[string]reflect.Type)}
}

// schemaNames are the names of types that differ from those in Go.
var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[zeekapi.Job]():  "RollingRestart",
	reflect.TypeFor[jobView]():      "Job",
	reflect.TypeFor[jobList]():      "Jobs",
	reflect.TypeFor[sessionView]():  "Session",
	reflect.TypeFor[login]():        "Login",
	reflect.TypeFor[Summary]():      "Summary",
	reflect.TypeFor[resultView]():   "Result",
	reflect.TypeFor[zeekapi.Diff](): "Diff",
}

// values are the values of types with few of them.
var values = map[reflect.Type][]any{
	reflect.TypeFor[zeekapi.State](): {
		zeekapi.StatePending, zeekapi.StateRunning, zeekapi.StateStopped, zeekapi.StateFailed, zeekapi.StateCrashed, zeekapi.StateUnknown,
	},
	reflect.TypeFor[zeekapi.ClusterRole](): {
		zeekapi.RoleNone, zeekapi.RoleManager, zeekapi.RoleLogger, zeekapi.RoleProxy, zeekapi.RoleWorker,
	},
	reflect.TypeFor[zeekapi.ManagementRole](): {
		zeekapi.ManagementNone, zeekapi.ManagementAgent, zeekapi.ManagementController, zeekapi.ManagementNode,
	},
	reflect.TypeFor[zeekapi.Outcome](): {
		zeekapi.OutcomePending, zeekapi.OutcomeDeployed, zeekapi.OutcomeFailed, zeekapi.OutcomeTimeout,
		zeekapi.OutcomeSuperseded, zeekapi.OutcomeLost, zeekapi.OutcomeRefused, zeekapi.OutcomeRolledBack,
	},
	reflect.TypeFor[JobState](): {JobRunning, JobSucceeded, JobFailed},
	reflect.TypeFor[Proof]():    {ByNothing, ByToken, ByCertificate, BySession},
}

// Schema implements huma.Registry.
func (s *schemas) Schema(t reflect.Type, allowRef bool, _ string) *huma.Schema {
	return s.of(t, allowRef)
}

// of returns the schema of a type, or a reference to it.
func (s *schemas) of(t reflect.Type, refer bool) *huma.Schema {
	if known := scalarSchema(t); known != nil {
		return known
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := s.of(t.Elem(), refer)
		if inner.Ref != "" {
			return &huma.Schema{AnyOf: []*huma.Schema{inner, {Type: "null"}}}
		}
		inner.Nullable = true
		return inner
	case reflect.Slice:
		return &huma.Schema{Type: huma.TypeArray, Items: s.of(t.Elem(), true)}
	case reflect.Map:
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: s.of(t.Elem(), true)}
	case reflect.Interface:
		return &huma.Schema{}
	case reflect.Struct:
		if !refer {
			return s.object(t)
		}
		name := schemaNames[t]
		if name == "" {
			name = t.Name()
		}
		if s.named[name] == nil {
			s.named[name] = new(huma.Schema) // types do not contain themselves
			s.types[name] = t
			*s.named[name] = *s.object(t)
		}
		return &huma.Schema{Ref: schemaPrefix + name}
	}
	return &huma.Schema{}
}

// object returns the schema of a struct.
func (s *schemas) object(t reflect.Type) *huma.Schema {
	o := &huma.Schema{Type: huma.TypeObject, Properties: make(map[string]*huma.Schema), AdditionalProperties: false}
	for _, f := range record.JSONFields(t) {
		o.Properties[f.Name] = s.of(f.Type, true)
		if f.Base64 {
			o.Properties[f.Name] = &huma.Schema{Type: huma.TypeString, ContentEncoding: "base64"}
		}
		if !f.Optional {
			o.Required = append(o.Required, f.Name)
		}
	}
	return o
}

// scalarSchema returns the schema of a type without parts, nil for others.
func scalarSchema(t reflect.Type) *huma.Schema {
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return &huma.Schema{Type: huma.TypeString, Description: "IP address", Nullable: true}
	case reflect.TypeFor[broker.Port]():
		return &huma.Schema{
			Description: "port of TCP, or text such as 53/udp",
			AnyOf:       []*huma.Schema{{Type: huma.TypeInteger, Minimum: number(0), Maximum: number(65535)}, {Type: huma.TypeString}, {Type: "null"}},
		}
	case reflect.TypeFor[time.Time]():
		return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
	case reflect.TypeFor[time.Duration]():
		return &huma.Schema{Type: huma.TypeString, Description: "duration, such as 1m30s"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return &huma.Schema{Type: huma.TypeBoolean}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: number(0)}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
	case reflect.Float32, reflect.Float64:
		return &huma.Schema{Type: huma.TypeNumber, Format: "double", Nullable: true}
	case reflect.String:
		return &huma.Schema{Type: huma.TypeString, Enum: values[t]}
	}
	return nil
}

func number(x float64) *float64 { return &x }

// SchemaFromRef implements huma.Registry.
func (s *schemas) SchemaFromRef(ref string) *huma.Schema {
	return s.named[strings.TrimPrefix(ref, schemaPrefix)]
}

// TypeFromRef implements huma.Registry.
func (s *schemas) TypeFromRef(ref string) reflect.Type {
	return s.types[strings.TrimPrefix(ref, schemaPrefix)]
}

// Map implements huma.Registry.
func (s *schemas) Map() map[string]*huma.Schema { return s.named }

// RegisterTypeAlias implements huma.Registry. It does nothing.
func (s *schemas) RegisterTypeAlias(reflect.Type, reflect.Type) {}

// MarshalJSON implements json.Marshaler.
func (s *schemas) MarshalJSON() ([]byte, error) { return json.Marshal(s.named) }
