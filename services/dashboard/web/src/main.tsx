/** Renders the dashboard. */
import { render } from "preact";
import { App } from "./app/app.js";
import { listenForKeys } from "./app/keys.js";
import { applyTheme } from "./app/theme.js";
import "./style/theme.css";
import "./style/base.css";
import "./ui/ui.css";

applyTheme();
listenForKeys();
const root = document.getElementById("app");
if (root) {
  render(<App />, root);
}
