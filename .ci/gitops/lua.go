package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Argo CD gives a script this long.
const luaTimeout = time.Second

// run runs a script about an object as Argo CD does: with the libraries base, package and table, and
// os without access to the system. With open set, it has all libraries, as in Argo CD's own tests.
func run(script string, object map[string]any, open bool) (any, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: !open})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.OsLibName, openClock},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), luaTimeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object))
	state.SetGlobal("actionParams", state.NewTable())
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, errors.New("the script returns no table")
	}
	return fromLua(table)
}

// openClock opens a library os that has nothing but the functions about time.
func openClock(state *lua.LState) int {
	state.Push(state.RegisterModule(lua.OsLibName, map[string]lua.LGFunction{
		"time": func(state *lua.LState) int {
			state.Push(lua.LNumber(time.Now().Unix()))
			return 1
		},
	}))
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// fromLua returns a table as JSON has it. An empty table is an empty list, as in Argo CD.
func fromLua(value lua.LValue) (any, error) {
	switch value := value.(type) {
	case lua.LBool:
		return bool(value), nil
	case lua.LString:
		return string(value), nil
	case lua.LNumber:
		if number := float64(value); number == math.Trunc(number) {
			return int64(number), nil
		}
		return float64(value), nil
	case *lua.LTable:
		return tableFromLua(value)
	default:
		return nil, fmt.Errorf("a %s in the result", value.Type())
	}
}

func tableFromLua(table *lua.LTable) (any, error) {
	list, object := []any{}, map[string]any{}
	var failed error
	table.ForEach(func(key, item lua.LValue) {
		converted, err := fromLua(item)
		if err != nil {
			failed = err
		}
		if name, ok := key.(lua.LString); ok {
			object[string(name)] = converted
		} else {
			list = append(list, converted)
		}
	})
	if len(object) == 0 {
		return list, failed
	}
	if len(list) > 0 {
		return nil, errors.New("a table with both kinds of keys")
	}
	return object, failed
}

func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), err
}
