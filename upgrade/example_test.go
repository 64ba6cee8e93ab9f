package upgrade_test

import (
	"fmt"
	"time"

	"github.com/multicast-upgrade/tool/upgrade"
)

// An agent that activates at night only, and on Saturdays at any time.
func ExampleWindows_Opens() {
	var windows upgrade.Windows // in UTC
	for _, s := range []string{"22:00-04:00", "Sat 00:00-24:00"} {
		w, err := upgrade.ParseWindow(s)
		if err != nil {
			fmt.Println(err)
			return
		}
		windows.Of = append(windows.Of, w)
	}
	friday := time.Date(2026, time.November, 27, 0, 0, 0, 0, time.UTC)
	for _, hour := range []int{3, 12, 23, 36} {
		t := friday.Add(time.Duration(hour) * time.Hour)
		fmt.Println(t.Format("Mon 15:04"), "opens", windows.Opens(t).Format("Mon 15:04"))
	}
	// Output:
	// Fri 03:00 opens Fri 03:00
	// Fri 12:00 opens Fri 22:00
	// Fri 23:00 opens Fri 23:00
	// Sat 12:00 opens Sat 12:00
}

func ExampleParseSlots() {
	slots, err := upgrade.ParseSlots("A=/dev/mmcblk0p2,B=/dev/mmcblk0p3")
	fmt.Println(slots, err)
	_, err = upgrade.ParseSlots("A=/dev/mmcblk0p2")
	fmt.Println(err)
	// Output:
	// [{A /dev/mmcblk0p2} {B /dev/mmcblk0p3}] <nil>
	// "A=/dev/mmcblk0p2" are 1, want two, such as A=/dev/mmcblk0p2,B=/dev/mmcblk0p3
}
