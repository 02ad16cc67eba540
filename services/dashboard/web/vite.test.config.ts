/** Builds the unit tests for Node, with the same resolution of modules as the page. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { checks, oxc, resolve } from "./vite.shared.ts";

const tests = fileURLToPath(new URL("test", import.meta.url));

export default defineConfig({
  oxc,
  resolve,
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: "dist/test",
    target: "node20",
    minify: false,
    sourcemap: true,
    rolldownOptions: {
      checks,
      input: readdirSync(tests, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".test.ts"))
        .map((file) => `${tests}/${file}`),
      output: { entryFileNames: "[name].js" },
    },
    reportCompressedSize: false,
  },
});
