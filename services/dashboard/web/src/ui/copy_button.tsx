/** A button that copies a text. */
import { useState } from "preact/hooks";
import { notify } from "../app/notices.js";
import { IconButton } from "./button.js";

const SHOWN_MS = 1500;

/** Copies `text`, and shows a check mark for a moment. `label` is the accessible name, such as `Copy the job id`. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
      setTimeout(() => setCopied(false), SHOWN_MS);
    } catch {
      notify("The browser does not allow access to the clipboard.", "bad");
    }
  };
  return <IconButton label={label} icon={copied ? "check" : "copy"} onClick={() => void copy()} />;
}
