/** Fields of forms: label, control, help and error belong together for screen readers, too. */
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** The attributes that connect a control with its label, its help and its error. */
export interface ControlAttributes {
  readonly id: string;
  readonly "aria-describedby": string | undefined;
  readonly "aria-invalid": boolean | undefined;
}

interface FieldProps {
  readonly label: string;
  readonly help?: ComponentChildren;
  readonly error?: string | undefined;
  /** Name of a CSS class, for the place in the form. */
  readonly class?: string;
  readonly children: (attributes: ControlAttributes) => ComponentChildren;
}

/** A control with its label above, and its error or its help below. */
export function Field({ label, help, error, class: className = "", children }: FieldProps) {
  const id = useId();
  const note = `${id}-note`;
  return (
    <div class={`field ${className}`}>
      <label for={id}>{label}</label>
      {children({
        id,
        "aria-describedby": help || error ? note : undefined,
        "aria-invalid": error ? true : undefined,
      })}
      {(error || help) && (
        <span id={note} class={error ? "field-error" : "field-help"}>
          {error || help}
        </span>
      )}
    </div>
  );
}
