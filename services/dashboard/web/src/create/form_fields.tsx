/** The kinds of fields in the form that creates a job. */
import type { ComponentChildren } from "preact";
import { Field } from "../ui/field.js";
import type { Draft, DraftErrors } from "./draft.js";

/** The form's state, for its fields. */
export interface FormState {
  readonly draft: Draft;
  readonly errors: DraftErrors;
  readonly change: (changes: Partial<Draft>) => void;
}

/** The fields of a draft that are texts. */
type TextFieldName = {
  [Name in keyof Draft]: Draft[Name] extends string ? Name : never;
}[keyof Draft];

interface TextFieldProps {
  readonly form: FormState;
  readonly name: TextFieldName;
  readonly label: string;
  readonly help?: ComponentChildren;
  readonly placeholder?: string;
  /** More than 1 = a field for several lines. */
  readonly rows?: number;
  readonly mono?: boolean;
  readonly class?: string;
}

/** A text field of the draft. */
export function TextField({
  form,
  name,
  label,
  help,
  placeholder,
  rows = 1,
  mono,
  class: className,
}: TextFieldProps) {
  const value = form.draft[name];
  return (
    <Field label={label} help={help} error={form.errors[name]} {...(className ? { class: className } : {})}>
      {(attributes) => {
        const common = {
          ...attributes,
          name,
          value,
          placeholder,
          spellcheck: false,
          autocomplete: "off",
          class: mono ? "mono" : undefined,
        } as const;
        return rows > 1 ? (
          <textarea
            {...common}
            rows={rows}
            onInput={(event) => form.change({ [name]: event.currentTarget.value })}
          />
        ) : (
          <input {...common} onInput={(event) => form.change({ [name]: event.currentTarget.value })} />
        );
      }}
    </Field>
  );
}

/** The fields of a draft that are on or off. */
type CheckFieldName = {
  [Name in keyof Draft]: Draft[Name] extends boolean ? Name : never;
}[keyof Draft];

interface CheckFieldProps {
  readonly form: FormState;
  readonly name: CheckFieldName;
  readonly label: string;
  readonly help: string;
}

/** A field of the draft that is on or off. */
export function CheckField({ form, name, label, help }: CheckFieldProps) {
  return (
    <div class="field">
      <label class="check-label">
        <input
          type="checkbox"
          name={name}
          checked={form.draft[name]}
          onChange={(event) => form.change({ [name]: event.currentTarget.checked })}
        />
        {label}
      </label>
      <span class="field-help">{help}</span>
      {form.errors[name] && <span class="field-error">{form.errors[name]}</span>}
    </div>
  );
}

interface ChoiceFieldProps<Name extends keyof Draft> {
  readonly form: FormState;
  readonly name: Name;
  readonly label: string;
  readonly help?: ComponentChildren;
  readonly choices: readonly { readonly value: Draft[Name]; readonly text: string }[];
}

/** A field of the draft with a few values to choose from. */
export function ChoiceField<Name extends keyof Draft>(props: ChoiceFieldProps<Name>) {
  const { form, name, label, help, choices } = props;
  return (
    <Field label={label} help={help} error={form.errors[name]}>
      {(attributes) => (
        <select
          {...attributes}
          name={name}
          value={String(form.draft[name])}
          onChange={(event) => {
            const choice = choices[event.currentTarget.selectedIndex];
            if (choice) {
              form.change({ [name]: choice.value });
            }
          }}
        >
          {choices.map(({ value, text }) => (
            <option key={text} value={String(value)}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
