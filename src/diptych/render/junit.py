"""An audit as JUnit XML, which CI systems read."""

from xml.etree import ElementTree

from diptych.auditing.report import STAGES, Audit, Stage


def junit(audit: Audit) -> str:
    """A suite with one test per stage.

    A stage with findings is a failure, one that was not compared is skipped, and one in which the
    audit itself failed is an error.
    """
    cases = [_case(audit, stage) for stage in audit.stages]
    outside = [f for f in audit.findings if f.stage not in {stage.name for stage in audit.stages}]
    cases += [_case(audit, Stage(name, False)) for name in dict.fromkeys(f.stage for f in outside)]
    counts = {
        outcome: str(sum(case.find(tag) is not None for case in cases))
        for outcome, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suites = ElementTree.Element("testsuites", counts, name="diptych", tests=str(len(cases)))
    suite = ElementTree.SubElement(
        suites, "testsuite", counts, name=f"{audit.a} against {audit.b}", tests=str(len(cases))
    )
    suite.extend(cases)
    ElementTree.SubElement(suite, "system-out").text = _clean(audit.conclusion)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(audit: Audit, stage: Stage) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname="diptych.audit", name=stage.name)
    findings = [finding for finding in audit.findings if finding.stage == stage.name]
    if stage.fault:
        ElementTree.SubElement(case, "error", message=_clean(stage.note))
    elif stage.ok is None:
        ElementTree.SubElement(case, "skipped", message=_clean(stage.note))
    elif not stage.ok:
        codes = ", ".join(dict.fromkeys(finding.code for finding in findings))
        failure = ElementTree.SubElement(case, "failure", message=_clean(codes or stage.note))
        failure.text = _clean("\n".join(finding.sentence for finding in findings))
    text = [STAGES[stage.name], str(stage.coverage), stage.note]
    text += [f"not compared: {line}" for line in stage.coverage.left_out]
    ElementTree.SubElement(case, "system-out").text = _clean("\n".join(filter(None, text)))
    return case


def _clean(text: str) -> str:
    """The text without the control characters that XML 1.0 does not allow."""
    return "".join(letter for letter in text if letter in "\t\n" or letter >= " ")
