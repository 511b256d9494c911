"""oracle.py SOURCE DIR...: prints, as a line of JSON for each DIR, the nodes of the
configuration in DIR/etc according to ZeekControl's own code in SOURCE, or the error for
which ZeekControl ends. DIR must be writable."""

import json
import os
import sys


class UI:
    def __init__(self):
        self.messages = []

    def info(self, text):
        pass

    def warn(self, text):
        self.messages.append(text)

    error = warn


def prepare(source, base):
    for name in ("logs", "spool/tmp", "bin", "share/zeekctl/scripts", "share/zeek/site", "lib/zeekctl"):
        os.makedirs(os.path.join(base, name), exist_ok=True)
    open(os.path.join(base, "share/zeekctl/scripts/make-archive-name"), "w").close()
    plugins = os.path.join(base, "lib/zeekctl/plugins")
    os.makedirs(plugins, exist_ok=True)
    for name in os.listdir(os.path.join(source, "ZeekControl/plugins")):
        target = os.path.join(plugins, name)
        if name.endswith(".py") and not os.path.lexists(target):
            os.symlink(os.path.join(source, "ZeekControl/plugins", name), target)
    options = os.path.join(base, "etc/zeekctl.cfg")
    with open(options) as lines:
        for line in lines:
            key, _, value = (part.strip() for part in line.partition("="))
            if key.lower() == "logdir" and value.startswith(base):
                os.makedirs(value, exist_ok=True)
            if key.lower() == "makearchivename" and value.startswith(base):
                open(value, "a").close()
    with open(options, "a") as out:
        out.write("\nZeekBase = %s\n" % base)
        out.write("PluginDir = %s\n" % plugins)


def nodes(base):
    from ZeekControl import config, control, install, zeekctl

    ui = UI()
    z = zeekctl.ZeekCtl(basedir=base, libdir=os.path.join(base, "lib"), libdirinternal=os.path.join(base, "lib"),
                        cfgfile=os.path.join(base, "etc/zeekctl.cfg"), zeekscriptdir=os.path.join(base, "share/zeek"), ui=ui)
    auto = os.path.join(base, "auto")
    os.makedirs(auto, exist_ok=True)
    install.make_layout(auto, ui, silent=True)
    layout = ""
    for name in ("cluster-layout.zeek", "standalone-layout.zeek"):
        if os.path.exists(os.path.join(auto, name)):
            layout = open(os.path.join(auto, name)).read()
    install.make_zeekctl_config_policy(auto, ui, z.plugins)
    packets = ""
    for p in z.plugins._activeplugins():
        if p.name() == "af_packet":
            packets = p.zeekctl_config() or ""
    z.finish()
    return {
        "nodes": [
            {"name": n.name, "type": n.type, "host": n.host, "interface": n.interface,
             "cpu": str(n.pin_cpus), "env": {k: str(v) for k, v in n.env_vars.items()},
             "params": control._make_zeek_params(n, True)}
            for n in z.config.nodes()
        ],
        "layout": layout, "packets": packets, "messages": ui.messages,
        "networks": [cidr for cidr, _ in install.read_networks(z.config.localnetscfg)],
        "redefs": open(os.path.join(auto, "zeekctl-config.zeek")).read(),
    }


def main():
    source = sys.argv[1]
    base = os.path.realpath(sys.argv[2])
    sys.dont_write_bytecode = True
    sys.path.insert(0, source)
    prepare(source, base)
    try:
        out = nodes(base)
    except SystemExit:
        out = {"error": "exit"}
    except Exception as err:
        out = {"error": "%s: %s" % (type(err).__name__, err)}
    print(json.dumps(out))


main()
