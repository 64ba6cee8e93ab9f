package fleet

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/multicast-upgrade/tool/upgrade/store"
)

// ReadPart reads which devices a wave has, as a person writes it: 1%, tag=brave, or site=berlin,10%. Empty is the rest.
func ReadPart(text string) (sel store.Selector, percent int, err error) {
	if text == "" {
		return sel, 0, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		key, value, _ := strings.Cut(word, "=")
		number, isPercent := strings.CutSuffix(word, "%")
		switch {
		case isPercent:
			n, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || n < 1 || n > 100 || percent != 0 {
				return sel, 0, fmt.Errorf("%.40q: want one percentage from 1%% to 100%%", word)
			}
			percent = n
			continue
		case value == "":
		case key == "product":
			sel.Products = append(sel.Products, value)
			continue
		case key == "site":
			sel.Sites = append(sel.Sites, value)
			continue
		case key == "tag":
			sel.Tags = append(sel.Tags, value)
			continue
		case key == "device":
			sel.Devices = append(sel.Devices, value)
			continue
		}
		return sel, 0, fmt.Errorf("%.40q: want a percentage, product=, site=, tag= or device=", word)
	}
	return sel, percent, nil
}

// PartText is the inverse of ReadPart.
func PartText(w store.Wave) string {
	var words []string
	for _, list := range []struct {
		key   string
		names []string
	}{{"product", w.Targets.Products}, {"site", w.Targets.Sites}, {"tag", w.Targets.Tags}, {"device", w.Targets.Devices}} {
		for _, name := range list.names {
			words = append(words, list.key+"="+name)
		}
	}
	if w.Percent > 0 {
		words = append(words, strconv.Itoa(w.Percent)+"%")
	}
	return strings.Join(words, ",")
}
