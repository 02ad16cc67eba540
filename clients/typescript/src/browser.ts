/** The client of jobworkerd for web pages of the dashboard, and the messages that it returns. */
import "./browser/dispose_symbols.js";

export { create } from "@bufbuild/protobuf";
export { timestampFromDate } from "@bufbuild/protobuf/wkt";
export { BrowserClient, type BrowserOptions, type ConnectionState } from "./browser/client.js";
export type { Attachment } from "./core/attachment.js";
export * from "./core/index.js";
