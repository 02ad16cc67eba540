/** Defines the symbols of `using` in browsers that lack them. Import this module before all others. */

for (const name of ["dispose", "asyncDispose"] as const) {
  if (!(name in Symbol)) {
    Object.defineProperty(Symbol, name, { value: Symbol(name) });
  }
}
