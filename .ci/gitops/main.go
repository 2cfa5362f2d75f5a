package main

import (
	"fmt"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	upstream "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	fmt.Println(flux.CurrentStatus, upstream.CurrentStatus, lua.LuaVersion)
}
