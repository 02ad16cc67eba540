/** The view of the nodes of a cluster. */
import { type Node, timestampDate } from "@jobworker/client/browser";
import { useEffect, useMemo } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { Link } from "../app/link.js";
import { Page } from "../app/page.js";
import { isGateway } from "../app/session.js";
import { EmptyState } from "../ui/empty_state.js";
import { printable } from "../ui/printable.js";
import { Duration } from "../ui/time.js";
import { Use } from "../ui/use.js";
import { NodeList } from "./node_list.js";
import { labelTexts, nodeProblem, nodeShares, nodeState } from "./node_text.js";
import "./nodes.css";

/** The table of nodes. */
export function NodesPage() {
  if (!isGateway.value) {
    return (
      <Page title="Nodes">
        <EmptyState title="This server has no nodes">
          <p>It runs all jobs on its own host. Only the gateway of a cluster has nodes.</p>
          <Link href="/">Show all jobs</Link>
        </EmptyState>
      </Page>
    );
  }
  return <GatewayNodes />;
}

function GatewayNodes() {
  const list = useMemo(() => new NodeList(client), []);
  useEffect(() => {
    const leaving = new AbortController();
    list.run(leaving.signal, () => !document.hidden).catch(endsSession);
    return () => leaving.abort();
  }, [list]);
  const nodes = list.nodes.value;
  const failure = list.failure.value;
  return (
    <Page title="Nodes">
      {failure && (
        <p class="message bad" role="alert">
          The server did not return the nodes: {failure}
        </p>
      )}
      {nodes?.length === 0 && (
        <EmptyState title="The cluster has no nodes">
          <p>A host becomes a node when its agent runs.</p>
        </EmptyState>
      )}
      {nodes && nodes.length > 0 && <NodesTable nodes={nodes} />}
    </Page>
  );
}

function NodesTable({ nodes }: { nodes: readonly Node[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it
    <section class="panel table-scroll nodes" aria-label="Nodes" tabIndex={0}>
      <table class="job-table nodes-table" aria-label="Nodes">
        <thead>
          <tr>
            {["Node", "State", "CPU", "Memory", "Jobs", "Labels", "Version", "Age"].map((heading) => (
              <th key={heading} scope="col">
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <NodeRow key={node.name} node={node} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function NodeRow({ node }: { node: Node }) {
  const { text, kind } = nodeState(node);
  const problem = nodeProblem(node);
  return (
    <tr>
      <th scope="row">
        <Link href={`/?node=${encodeURIComponent(node.name)}`} title="Show the jobs on this node">
          {printable(node.name)}
        </Link>
      </th>
      <td>
        <span class={`badge ${kind}`} title={conditionsText(node)}>
          {text}
        </span>
        {problem && <p class="node-problem">{printable(problem)}</p>}
      </td>
      {nodeShares(node).map(({ name, text: amount, share }) => (
        <td key={name} class="numeric">
          <Use name={`${name} of ${printable(node.name)}`} text={amount} share={share} />
        </td>
      ))}
      <td>
        <span class="labels">
          {labelTexts(node.labels).map((label) => (
            <span key={label} class="chip">
              <span class="ellipsis">{printable(label)}</span>
            </span>
          ))}
        </span>
      </td>
      <td>{printable(node.version)}</td>
      <td>{node.createTime && <Duration start={timestampDate(node.createTime)} end={undefined} />}</td>
    </tr>
  );
}

/** Returns the conditions, one per line. */
function conditionsText({ conditions }: Node): string {
  return conditions
    .map(({ type, status, message }) => printable(`${type}: ${status}${message && `, ${message}`}`))
    .join("\n");
}
