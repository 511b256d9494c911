package site_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// library returns an ELF file that imports a function.
func library(t *testing.T, machine elf.Machine, function string) string {
	t.Helper()
	const headers, sectionSize = 64, 64
	names := "\x00.dynsym\x00.dynstr\x00.shstrtab\x00"
	strings := "\x00" + function + "\x00"
	var symbols bytes.Buffer
	put := func(b *bytes.Buffer, v any) {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	put(&symbols, elf.Sym64{})
	put(&symbols, elf.Sym64{Name: 1, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC)})
	at := uint64(headers)
	section := func(name uint32, kind elf.SectionType, size int, link uint32, entry uint64) elf.Section64 {
		s := elf.Section64{Name: name, Type: uint32(kind), Off: at, Size: uint64(size), Link: link, Entsize: entry}
		at += uint64(size)
		return s
	}
	sections := []elf.Section64{
		{},
		section(1, elf.SHT_DYNSYM, symbols.Len(), 2, elf.Sym64Size),
		section(9, elf.SHT_STRTAB, len(strings), 0, 0),
		section(17, elf.SHT_STRTAB, len(names), 0, 0),
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Shoff: at, Ehsize: headers, Shentsize: sectionSize, Shnum: uint16(len(sections)), Shstrndx: 3,
	}
	var b bytes.Buffer
	put(&b, header)
	b.Write(symbols.Bytes())
	b.WriteString(strings + names)
	put(&b, sections)
	return b.String()
}

func TestPlugins(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"local.zeek":                             "",
		"plugins/new/__zeek_plugin__":            "Corelight::New\n",
		"plugins/new/lib/new.linux-x86_64.so":    library(t, elf.EM_X86_64, "zeek_version_8_0_1_plugin_9"),
		"plugins/new/lib/new.linux-aarch64.so":   library(t, elf.EM_AARCH64, "zeek_version_9_1_0_dev_96_plugin_10_debug"),
		"plugins/new/lib/bif/init.zeek":          "",
		"plugins/old/__bro_plugin__":             "Demo::Old",
		"plugins/old/lib/old.so":                 "no ELF file",
		"plugins/scripts/__zeek_plugin__":        "Demo::Scripts",
		"plugins/scripts/scripts/__load__.zeek":  "",
		"plugins/other/__zeek_plugin__":          strings.Repeat("x", 5000),
		"plugins/other/lib/other.so":             library(t, elf.EM_X86_64, "malloc"),
		"not-a-plugin/lib/libfast.so":            "",
		"plugins/cut/__zeek_plugin__":            "Demo::Cut",
		"plugins/cut/lib/cut.so":                 library(t, elf.EM_X86_64, "malloc")[:100],
		"plugins/new/lib/deeper/not-a-plugin.so": "",
	})
	plugins, err := site.Plugins(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range plugins {
		got = append(got, p.String())
	}
	want := []string{
		"plugin Demo::Cut (plugins/cut), built for an unknown version of Zeek on an unknown architecture",
		"plugin Corelight::New (plugins/new), built for Zeek 9.1.0-dev.96 on aarch64, Zeek 8.0.1 on x86_64",
		"plugin Demo::Old (plugins/old), built for an unknown version of Zeek on an unknown architecture",
		"plugin plugins/other (plugins/other), built for an unknown version of Zeek on x86_64",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := site.Plugins("/does/not/exist", site.Limits{}); err == nil {
		t.Error("no error")
	}
}
