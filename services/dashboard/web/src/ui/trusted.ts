/** Addresses that the page's policy for Trusted Types accepts. */

interface ScriptUrlPolicy {
  createScriptURL(url: string): string;
}

interface TrustedTypes {
  createPolicy(name: string, rules: ScriptUrlPolicy): ScriptUrlPolicy;
}

const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };

// Only addresses that the build put into the page, which start with a slash.
const policy = trustedTypes?.createPolicy("jobworker", { createScriptURL: requireOwnPath });

/**
 * Returns the address of a script of this page in the form that `new Worker` accepts.
 *
 * @throws TypeError if the address is not a path on this server.
 */
export function trustedScriptUrl(path: string): string {
  return policy ? policy.createScriptURL(path) : requireOwnPath(path);
}

function requireOwnPath(path: string): string {
  if (!/^\/(?!\/)/.test(path)) {
    throw new TypeError(`${path} is not a path on this server`);
  }
  return path;
}
