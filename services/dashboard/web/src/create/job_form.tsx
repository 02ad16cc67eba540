/** The form that creates a job. */
import { JobWorkerError } from "@jobworker/client/browser";
import { useRef, useState } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { Link } from "../app/link.js";
import { navigate } from "../app/router.js";
import { isGateway } from "../app/session.js";
import { Button } from "../ui/button.js";
import { errorText } from "../ui/error_text.js";
import { AsCommand } from "./as_command.js";
import { type Draft, type DraftErrors, placeViolations, toRequest } from "./draft.js";
import type { FormState } from "./form_fields.js";
import { ClusterSection, CommandSection, LifeSection, LimitsSection } from "./form_sections.js";
import "./create.css";

/** The form, filled in with `initial`. Shows the job that it creates. */
export function JobForm({ initial }: { initial: Draft }) {
  const element = useRef<HTMLFormElement>(null);
  const [draft, setDraft] = useState(initial);
  const [errors, setErrors] = useState<DraftErrors>({});
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const form: FormState = {
    draft,
    errors,
    change: (changes) => {
      setDraft((previous) => ({ ...previous, ...changes }));
      setErrors((previous) => without(previous, Object.keys(changes)));
    },
  };

  const showErrors = (found: DraftErrors, text: string) => {
    setErrors(found);
    setFailure(text);
    requestAnimationFrame(() => {
      element.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    });
  };
  const submit = async () => {
    const { request, errors: found } = toRequest(draft);
    if (Object.keys(found).length > 0) {
      showErrors(found, "");
      return;
    }
    setBusy(true);
    try {
      const job = await client.create(request);
      navigate(`/jobs/${job.id}`);
    } catch (error) {
      if (!endsSession(error)) {
        const { errors: refused, others } = placeViolations(
          error instanceof JobWorkerError ? error.fields : [],
        );
        const isPlaced = Object.keys(refused).length > 0 && others.length === 0;
        showErrors(refused, isPlaced ? "" : [errorText(error), ...others].join(" "));
      }
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      ref={element}
      class="job-form"
      aria-label="New job"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          element.current?.requestSubmit();
        }
      }}
    >
      <CommandSection form={form} />
      <LimitsSection form={form} />
      <LifeSection form={form} isGateway={isGateway.value} />
      {isGateway.value && <ClusterSection form={form} />}
      <AsCommand draft={draft} />
      <div class="form-end">
        {failure && (
          <p class="message bad" role="alert">
            {failure}
          </p>
        )}
        {Object.keys(errors).length > 0 && (
          <p class="field-error" role="alert">
            Correct the marked fields.
          </p>
        )}
        <span class="field-help form-shortcut">
          <kbd>Ctrl</kbd> <kbd>Enter</kbd>
        </span>
        <Link href="/" class="button">
          Cancel
        </Link>
        <Button type="submit" kind="primary" disabled={busy}>
          {busy ? "Creating…" : "Create job"}
        </Button>
      </div>
    </form>
  );
}

function without(errors: DraftErrors, names: readonly string[]): DraftErrors {
  return Object.fromEntries(Object.entries(errors).filter(([name]) => !names.includes(name)));
}
