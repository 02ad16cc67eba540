/** Settings that the builds of the page and of its tests share. */
import { fileURLToPath } from "node:url";

/** The browser client is built from its sources, with the dependencies in its own `node_modules`. */
export const resolve = {
  alias: {
    "@jobworker/client/browser": fileURLToPath(
      new URL("../../../clients/typescript/src/browser.ts", import.meta.url),
    ),
  },
};

export const oxc = { jsx: { runtime: "automatic", importSource: "preact" } } as const;

/** No warnings about the duration of a build, which depends on the machine. */
export const checks = { pluginTimings: false } as const;
