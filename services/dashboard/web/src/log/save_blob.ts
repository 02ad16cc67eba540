// The browser needs some time to begin with a download.
const KEPT_MS = 60_000;

/** Saves a blob as a file in the user's directory for downloads. */
export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
