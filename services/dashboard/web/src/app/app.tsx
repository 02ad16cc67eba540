/** The page: its frame and the view that the address names. */
export function App() {
  return <h1>jobworker</h1>;
}
