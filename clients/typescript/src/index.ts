/** The client of jobworkerd for Node, and the messages that it returns. */
export * from "./core/index.js";
export type { Attachment } from "./node/attachment.js";
export { Client } from "./node/client.js";
export type { ClientConfig, Role } from "./node/config.js";
