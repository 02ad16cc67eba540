/** Builds the page into the Python package of the dashboard. The same sources always give the same files. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { checks, oxc, resolve } from "./vite.shared.ts";

export default defineConfig({
  oxc,
  resolve,
  build: {
    outDir: fileURLToPath(new URL("../src/jobworker_dashboard/static", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // The content security policy of the page forbids inline scripts, and `data:` addresses.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    license: { fileName: "licenses.txt" },
    reportCompressedSize: false,
    rolldownOptions: { checks },
  },
  worker: { format: "es" },
});
