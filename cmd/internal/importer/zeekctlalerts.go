package importer

import "strconv"

// alerts carries over the mail that ZeekControl itself sends, of "zeekctl cron".
func (c *control) alerts() {
	if space := c.files.options.Get("mindiskspace"); space != nil {
		least := "0"
		if percent := c.files.options.Int(space.Name, 0); percent > 0 {
			least = strconv.Itoa(min(percent, 100)) + "%"
		}
		for _, m := range c.Machines {
			m.set("disk-warn", least, "MinDiskSpace of ZeekControl")
		}
	}
}
