package upgrade

import (
	"strconv"

	"golang.org/x/sys/windows/registry"
)

// bootID returns the number of times the system was started.
func bootID() (string, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE,
		`SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`, registry.QUERY_VALUE)
	if err != nil {
		return "", err
	}
	defer key.Close()
	n, _, err := key.GetIntegerValue("BootId")
	return strconv.FormatUint(n, 10), err
}
