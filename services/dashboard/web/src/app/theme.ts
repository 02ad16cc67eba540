/** The colour theme. The choice is remembered in the browser. */
import { effect, signal } from "@preact/signals";

const THEMES = ["system", "light", "dark"] as const;
const STORAGE_KEY = "theme";

/** A theme. `system` follows the preference of the operating system. */
export type Theme = (typeof THEMES)[number];

/** The chosen theme. */
export const theme = signal<Theme>(storedTheme());

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = signal<"light" | "dark">(systemIsDark.matches ? "dark" : "light");
systemIsDark.addEventListener("change", ({ matches }) => {
  systemTheme.value = matches ? "dark" : "light";
});

/** Returns the theme that is visible: the chosen one, or that of the operating system. */
export function visibleTheme(): "light" | "dark" {
  return theme.value === "system" ? systemTheme.value : theme.value;
}

/** Returns the theme after the given one, for a button that steps through them. */
export function nextTheme(current: Theme): Theme {
  return THEMES[(THEMES.indexOf(current) + 1) % THEMES.length] ?? "system";
}

/** Applies the theme, and each change of it. */
export function applyTheme(): void {
  effect(() => {
    const { dataset } = document.documentElement;
    if (theme.value === "system") {
      delete dataset.theme;
    } else {
      dataset.theme = theme.value;
    }
    store(theme.value);
  });
}

/**
 * Returns a colour of the visible theme as `rgb(...)`, for a canvas, which knows no CSS variables. `variable` is the name
 * of a variable, such as `--accent`. Read `visibleTheme()` beside it to be called again after a change.
 */
export function themeColor(variable: `--${string}`): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

// Browsers can forbid the storage. The theme then lasts as long as the page.
function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return THEMES.find((each) => each === stored) ?? "system";
  } catch {
    return "system";
  }
}

function store(value: Theme): void {
  try {
    localStorage.setItem(STORAGE_KEY, value);
  } catch {
    // See above.
  }
}
