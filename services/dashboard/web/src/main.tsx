/** Renders the dashboard. */
// Before the components, whose styles override these.
import "./style/theme.css";
import "./style/base.css";
import "./ui/ui.css";

import { render } from "preact";
import { App } from "./app/app.js";
import { listenForKeys } from "./app/keys.js";
import { applyTheme } from "./app/theme.js";

applyTheme();
listenForKeys();
const root = document.getElementById("app");
if (root) {
  render(<App />, root);
}
