"""The subjects of MMLU, C-Eval and CMMLU by group, as their data sets publish them."""

from __future__ import annotations

from typing import Dict, List

__all__ = ["CEVAL", "CEVAL_HARD", "CMMLU", "MMLU", "every"]


def _words(text: str) -> List[str]:
    return text.split()


#: The four groups in the order in which the release prints them.
MMLU: Dict[str, List[str]] = {
    "stem": _words(
        """abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security conceptual_physics electrical_engineering
        elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science
        high_school_mathematics high_school_physics high_school_statistics machine_learning"""
    ),
    "Humanities": _words(
        """formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy
        prehistory professional_law world_religions"""
    ),
    "other": _words(
        """business_ethics college_medicine human_aging management marketing medical_genetics
        miscellaneous nutrition professional_accounting professional_medicine virology global_facts
        clinical_knowledge"""
    ),
    "social": _words(
        """econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality
        professional_psychology public_relations security_studies sociology us_foreign_policy"""
    ),
}

CEVAL: Dict[str, List[str]] = {
    "STEM": _words(
        """computer_network operating_system computer_architecture college_programming college_physics
        college_chemistry advanced_mathematics probability_and_statistics discrete_mathematics
        electrical_engineer metrology_engineer high_school_mathematics high_school_physics
        high_school_chemistry high_school_biology middle_school_mathematics middle_school_biology
        middle_school_physics middle_school_chemistry veterinary_medicine"""
    ),
    "Social Science": _words(
        """college_economics business_administration marxism mao_zedong_thought education_science
        teacher_qualification high_school_politics high_school_geography middle_school_politics
        middle_school_geography"""
    ),
    "Humanities": _words(
        """modern_chinese_history ideological_and_moral_cultivation logic law
        chinese_language_and_literature art_studies professional_tour_guide legal_professional
        high_school_chinese high_school_history middle_school_history"""
    ),
    "Other": _words(
        """civil_servant sports_science plant_protection basic_medicine clinical_medicine
        urban_and_rural_planner accountant fire_engineer environmental_impact_assessment_engineer
        tax_accountant physician"""
    ),
}

CEVAL_HARD: List[str] = _words(
    """advanced_mathematics discrete_mathematics probability_and_statistics college_physics
    college_chemistry high_school_mathematics high_school_physics high_school_chemistry"""
)

#: Kinds of CMMLU's subjects with the group that each belongs to.
_CMMLU_KINDS: Dict[str, str] = {
    **dict.fromkeys(["physics", "chemistry", "biology", "computer", "math", "engineering"], "STEM"),
    **dict.fromkeys(["statistics"], "STEM"),
    **dict.fromkeys(["history", "philosophy", "law", "arts", "literature", "global"], "Humanities"),
    **dict.fromkeys(["linguistics", "business", "politics", "culture"], "Social Science"),
    **dict.fromkeys(
        ["economics", "geography", "psychology", "education", "sociology"], "Social Science"
    ),
    "other": "Other",
}

#: A star marks what is specific to China; those subjects count in that group too.
_CMMLU_SUBJECTS = """
agronomy:other anatomy:biology ancient_chinese:linguistics* arts:arts astronomy:physics
business_ethics:business chinese_civil_service_exam:politics* chinese_driving_rule:other*
chinese_food_culture:culture* chinese_foreign_policy:politics* chinese_history:history*
chinese_literature:literature* chinese_teacher_qualification:education* college_actuarial_science:math
college_education:education college_engineering_hydrology:engineering college_law:law
college_mathematics:math college_medical_statistics:statistics clinical_knowledge:other
college_medicine:other computer_science:computer computer_security:other conceptual_physics:physics
construction_project_management:other* economics:economics education:education
elementary_chinese:linguistics* elementary_commonsense:other*
elementary_information_and_technology:other electrical_engineering:engineering
elementary_mathematics:math ethnology:culture* food_science:other genetics:biology global_facts:global
high_school_biology:biology high_school_chemistry:chemistry high_school_geography:geography
high_school_mathematics:math high_school_physics:physics high_school_politics:politics*
human_sexuality:other international_law:law journalism:sociology jurisprudence:law
legal_and_moral_basis:other logical:philosophy machine_learning:computer management:business
marketing:business marxist_theory:philosophy modern_chinese:linguistics* nutrition:other
philosophy:philosophy professional_accounting:business professional_law:law
professional_medicine:other professional_psychology:psychology public_relations:politics
security_study:politics sociology:culture sports_science:other traditional_chinese_medicine:other*
virology:biology world_history:history world_religions:global
"""


def _cmmlu() -> Dict[str, List[str]]:
    groups: Dict[str, List[str]] = {}
    for name in ("STEM", "Humanities", "Social Science", "Other", "China specific"):
        groups[name] = []
    for entry in _CMMLU_SUBJECTS.split():
        subject, _, kind = entry.partition(":")
        groups[_CMMLU_KINDS[kind.rstrip("*")]].append(subject)
        if kind.endswith("*"):
            groups["China specific"].append(subject)
    return groups


CMMLU: Dict[str, List[str]] = _cmmlu()


def every(groups: Dict[str, List[str]]) -> List[str]:
    """All subjects of some groups, each once."""
    return list(dict.fromkeys(subject for subjects in groups.values() for subject in subjects))
